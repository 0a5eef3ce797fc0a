//! What the demo's clients ask for, and how often.

/// One kind of request.
#[derive(Debug)]
pub(super) struct Step {
    /// What the service totals it by.
    pub(super) label: &'static str,
    /// How often, relative to the others.
    weight: i32,
    /// With `{user}` for a user.
    pub(super) path: &'static str,
    pub(super) body: Option<&'static str>,
    pub(super) answer: Answer,
}

/// What to expect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Status(u16),
    /// One that only ends when somebody leaves.
    Stream,
}

impl Step {
    pub(super) fn method(&self) -> &'static str {
        self.label.split(' ').next().unwrap_or_default()
    }
}

const fn step(
    weight: i32,
    label: &'static str,
    path: &'static str,
    body: Option<&'static str>,
    status: u16,
) -> Step {
    Step { label, weight, path, body, answer: Answer::Status(status) }
}

const ONLINE: Option<&str> = Some(r#"{"presence": "online", "status_msg": "in a demo"}"#);
const BUSY: Option<&str> = Some(r#"{"presence": "online", "status_msg": "in a meeting"}"#);
const AWAY: Option<&str> = Some(r#"{"presence": "away"}"#);

pub(super) const ARRIVE: Step = step(0, "PUT /presence/{user}", "/presence/{user}", ONLINE, 200);
pub(super) const WATCH: Step = Step {
    label: "GET /presence/{user}/stream",
    weight: 12,
    path: "/presence/{user}/stream",
    body: None,
    answer: Answer::Stream,
};

static STEPS: [Step; 20] = [
    step(120, "GET /presence/{user}", "/presence/{user}", None, 200),
    step(60, "PUT /presence/{user}", "/presence/{user}", ONLINE, 200),
    step(40, "PUT /presence/{user}", "/presence/{user}", BUSY, 200),
    step(30, "GET /presence/{user}/history", "/presence/{user}/history?limit=20", None, 200),
    WATCH,
    step(20, "GET /health", "/health", None, 200),
    // errors of the client
    step(8, "GET /presence/{user}", "/presence/nobody", None, 404),
    step(8, "PUT /presence/{user}", "/presence/{user}", AWAY, 400),
    step(4, "GET /presence/{user}", "/presence/No%20Name", None, 400),
    // errors of the service
    step(8, "GET /demo/fail", "/demo/fail", None, 500),
    step(4, "GET /demo/panic", "/demo/panic", None, 500),
    // CPU, and what looks like it
    step(24, "POST /demo/burn", "/demo/burn?ms=5", None, 200),
    step(16, "POST /demo/burn_system", "/demo/burn_system?ms=3", None, 200),
    step(24, "GET /demo/slow", "/demo/slow?ms=30", None, 200),
    step(1, "POST /demo/burn", "/demo/burn?ms=120", None, 200),
    step(1, "POST /demo/block", "/demo/block?ms=120", None, 200),
    // work in the background
    step(12, "POST /demo/hash", "/demo/hash", None, 200),
    step(16, "POST /demo/follow", "/demo/follow", None, 202),
    step(16, "POST /demo/notify", "/demo/notify", None, 202),
    step(6, "POST /demo/notify_nobody", "/demo/notify_nobody", None, 202),
];

/// Each step once.
pub(super) fn each_kind() -> impl Iterator<Item = &'static Step> {
    STEPS.iter()
}

/// The steps in turn, each as often as its weight says, evenly spread.
#[derive(Debug)]
pub(super) struct Mix {
    owed: [i32; STEPS.len()],
}

impl Mix {
    /// The mix of one client out of so many: they do not march in step.
    pub(super) fn of_client(client: usize, clients: usize) -> Self {
        let mut mix = Self { owed: [0; STEPS.len()] };
        let round: usize = STEPS.iter().map(|step| step.weight.unsigned_abs() as usize).sum();
        (0..round * client / clients).for_each(|_| {
            mix.next();
        });
        mix
    }

    pub(super) fn next(&mut self) -> &'static Step {
        let round: i32 = STEPS.iter().map(|step| step.weight).sum();
        let mut next = 0;
        for (i, step) in STEPS.iter().enumerate() {
            self.owed[i] += step.weight;
            if self.owed[i] > self.owed[next] {
                next = i;
            }
        }
        self.owed[next] -= round;
        &STEPS[next]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_step_comes_as_often_as_it_weighs() {
        let round: i32 = STEPS.iter().map(|step| step.weight).sum();
        let mut mix = Mix::of_client(1, 3);
        let drawn: Vec<_> = (0..round).map(|_| std::ptr::from_ref(mix.next())).collect();
        for step in &STEPS {
            let times = drawn.iter().filter(|drawn| std::ptr::eq(**drawn, step)).count();
            assert_eq!(times, step.weight as usize, "{}", step.path);
        }
    }
}
