//! Stopping a server, and starting it again: the same methods for each kind.

/// Gives `$server` the methods that act on its own process, which is in `$field` where it was started here. It has a
/// flag `is_shared`: then nobody may touch it.
macro_rules! controls {
    ($server:ident, $field:ident: $process:ty) => {
        impl $server {
            /// Stops the server, and returns when it is gone. Does nothing where it is gone already.
            ///
            /// # Panics
            ///
            /// If the server is shared, or does not stop.
            #[track_caller]
            pub fn stop(&self, how: $crate::Stop) {
                self.own("stop").stop(how);
            }

            /// Starts it after a [`stop`](Self::stop), with its data and on the same port, and returns when it
            /// answers. Does nothing where it runs.
            ///
            /// # Panics
            ///
            /// If the server is shared, or does not start.
            #[track_caller]
            pub fn start_again(&self) {
                if let Err(error) = self.own("start").start_again() {
                    panic!("{error}");
                }
            }

            /// Stops it as [`Stop::Fast`](crate::Stop::Fast) does, and starts it again.
            ///
            /// # Panics
            ///
            /// If the server is shared, or does not stop or start.
            #[track_caller]
            pub fn restart(&self) {
                self.stop($crate::Stop::Fast);
                self.start_again();
            }

            /// Freezes the server and all that belongs to it until [`resume`](Self::resume): connections stay open,
            /// new ones are still accepted by the operating system, and nothing answers.
            ///
            /// # Panics
            ///
            /// If the server is shared, or does not run.
            #[track_caller]
            pub fn pause(&self) {
                self.own("pause").pause();
            }

            /// Lets it go on after a [`pause`](Self::pause).
            ///
            /// # Panics
            ///
            /// If the server is shared.
            #[track_caller]
            pub fn resume(&self) {
                self.own("resume").resume();
            }

            #[track_caller]
            fn own(&self, what: &str) -> &$process {
                match &self.$field {
                    Some(process) if !self.is_shared => process,
                    _ => panic!(
                        "cannot {what} a server that other tests use: take one of your own from {}::start()",
                        stringify!($server)
                    ),
                }
            }
        }
    };
}

pub(crate) use controls;
