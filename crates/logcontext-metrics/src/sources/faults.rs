//! What can be wrong with a source.

use crate::encode::{Kind, Text, Value};

macro_rules! faults {
    ($($variant:ident = $name:literal, $message:literal;)*) => {
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(super) enum Fault {
            $($variant,)*
        }

        impl Fault {
            pub(super) const ALL: &'static [Self] = &[$(Self::$variant,)*];

            fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            fn message(self) -> &'static str {
                match self { $(Self::$variant => $message,)* }
            }
        }
    };
}

faults! {
    Panicked = "panicked", "a source of figures panicked, and is not asked again";
    Name = "name", "a source has a figure whose name cannot be used, or that it has not described";
    Kind = "kind", "a source has a figure of another kind than was described, or than another source has";
    Labels = "labels", "a source has a figure with labels that cannot be used";
    Value = "value", "a source has a figure whose value is no number, or a counter that is negative";
    Duplicate = "duplicate", "a source has a figure with the labels of another one";
}

/// How many sources had each, so far.
#[derive(Clone, Copy, Default)]
pub(crate) struct Faults([u64; Fault::ALL.len()]);

impl Faults {
    /// To be called once for each source and fault.
    pub(super) fn count(&mut self, fault: Fault, figure: &str) {
        self.0[fault as usize] += 1;
        tracing::warn!(target: "logcontext::metrics", fault = fault.name(), figure, "{}", fault.message());
    }

    pub(crate) fn write(&self, text: &mut Text) {
        let mut family = text.family(
            "logcontext_metrics_source_faults",
            Kind::Counter,
            "Sources of figures that said something that is none, each counted once for each fault. It was left out.",
        );
        for (fault, n) in Fault::ALL.iter().zip(self.0) {
            family.sample_by("", Some(("fault", fault.name())), Value::Count(n));
        }
    }
}
