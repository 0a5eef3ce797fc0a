//! Spans are left in any order.

use logcontext::{Entered, LogContext, current_context};
use proptest::prelude::*;
use tracing::{Dispatch, Span, info_span};

use crate::support::{here, rig};

fn enter(span: &Span) {
    span.with_subscriber(|(id, dispatch): (&tracing::Id, &Dispatch)| dispatch.enter(id));
}

fn exit(span: &Span) {
    span.with_subscriber(|(id, dispatch): (&tracing::Id, &Dispatch)| dispatch.exit(id));
}

#[test]
fn a_span_left_before_the_one_entered_in_it_hands_on_where_to_go_back_to() {
    let rig = rig();
    let first = info_span!("first");
    let second = info_span!("second", logcontext.enter = true);
    enter(&first);
    enter(&second);
    assert_eq!(here(), "second-2");
    exit(&first);
    assert_eq!(here(), "second-2");
    exit(&second);
    assert!(current_context().is_sentinel(), "{} was left behind", here());
    assert!(rig.test.reports().is_empty());
}

#[test]
fn a_span_entered_inside_another_changes_nothing_when_the_other_goes_first() {
    let _rig = rig();
    let (first, second) = (info_span!("first"), info_span!("second"));
    enter(&first);
    enter(&second);
    exit(&first);
    assert!(current_context().is_sentinel());
    exit(&second);
    assert!(current_context().is_sentinel());
}

#[test]
fn a_span_entered_twice_is_left_when_it_is_left_twice() {
    let _rig = rig();
    let span = info_span!("work");
    enter(&span);
    enter(&span);
    LogContext::new("GET-2").scope(|| {
        enter(&span);
        exit(&span);
        assert_eq!(here(), "GET-2");
    });
    exit(&span);
    assert_eq!(here(), "work-1");
    exit(&span);
    assert!(current_context().is_sentinel());
    exit(&span);
    assert!(current_context().is_sentinel());
}

/// What happens to a thread.
#[derive(Clone, Debug)]
enum Step {
    Enter(usize),
    Exit(usize),
    /// In a scope of that context, or of the sentinel.
    Scope(usize, Vec<Step>),
    /// With a guard of that context.
    Guard(usize, Vec<Step>),
}

const SPANS: usize = 6;

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![(0..SPANS).prop_map(Step::Enter), (0..SPANS).prop_map(Step::Exit)];
    let step = step.prop_recursive(3, 40, 12, |inner| {
        let steps = prop::collection::vec(inner, 0..12);
        prop_oneof![
            (0..=SPANS, steps.clone()).prop_map(|(context, steps)| Step::Scope(context, steps)),
            (0..SPANS, steps).prop_map(|(context, steps)| Step::Guard(context, steps)),
        ]
    });
    prop::collection::vec(step, 0..40)
}

/// One span that has entered its context, and how often.
struct Open {
    span: usize,
    context: LogContext,
    times: usize,
}

/// A scope, or the thread: what it is in, and what was entered in it, in order.
struct Frame {
    context: LogContext,
    open: Vec<Open>,
}

/// The plain model: whoever was entered last and is there still has the thread. Nobody goes back to anything.
struct Model {
    contexts: Vec<LogContext>,
    frames: Vec<Frame>,
}

impl Model {
    fn current(&self) -> LogContext {
        let frame = self.frames.last().unwrap();
        frame.open.last().map_or(&frame.context, |open| &open.context).clone()
    }

    fn open(&mut self, span: usize) -> Option<(usize, usize)> {
        let frames = self.frames.iter().enumerate().rev();
        let mut found = frames.flat_map(|(f, frame)| (0..frame.open.len()).rev().map(move |o| (f, o)));
        found.find(|(f, o)| self.frames[*f].open[*o].span == span)
    }

    fn enter(&mut self, span: usize) {
        if let Some((f, o)) = self.open(span) {
            self.frames[f].open[o].times += 1;
            return;
        }
        let (current, context) = (self.current(), self.contexts[span].clone());
        // Those with odd numbers ask to be entered anywhere.
        if context != current && (current.is_sentinel() || span % 2 == 1) {
            self.frames.last_mut().unwrap().open.push(Open { span, context, times: 1 });
        }
    }

    fn exit(&mut self, span: usize) {
        if let Some((f, o)) = self.open(span) {
            self.frames[f].open[o].times -= 1;
            if self.frames[f].open[o].times == 0 {
                self.frames[f].open.remove(o);
            }
        }
    }
}

struct Thread {
    spans: Vec<Span>,
    model: Model,
}

impl Thread {
    fn run(&mut self, steps: &[Step]) {
        for step in steps {
            match step {
                Step::Enter(span) => {
                    enter(&self.spans[*span]);
                    self.model.enter(*span);
                }
                Step::Exit(span) => {
                    exit(&self.spans[*span]);
                    self.model.exit(*span);
                }
                Step::Scope(context, steps) => {
                    let context = self.model.contexts.get(*context).cloned().unwrap_or_default();
                    self.model.frames.push(Frame { context: context.clone(), open: Vec::new() });
                    context.scope(|| {
                        self.run(steps);
                        self.leave_all_of_this_frame();
                    });
                    self.model.frames.pop();
                }
                Step::Guard(context, steps) => {
                    let context = self.model.contexts[*context].clone();
                    let guard: Entered = context.enter();
                    let frame = self.model.frames.last_mut().unwrap();
                    frame.open.push(Open { span: usize::MAX, context, times: 1 });
                    self.check();
                    self.run(steps);
                    drop(guard);
                    let (f, o) = self.model.open(usize::MAX).unwrap();
                    self.model.frames[f].open.remove(o);
                }
            }
            self.check();
        }
    }

    fn check(&self) {
        assert_eq!(current_context(), self.model.current());
    }

    /// What a scope leaves open is reported: not what is looked at here.
    fn leave_all_of_this_frame(&mut self) {
        while let Some(open) = self.model.frames.last().unwrap().open.last() {
            let span = open.span;
            exit(&self.spans[span]);
            self.model.exit(span);
            self.check();
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn spans_entered_and_left_in_any_order_with_scopes_and_guards_between_leave_nothing_behind(steps in steps()) {
        let rig = rig();
        let contexts: Vec<_> = (0..SPANS).map(|i| LogContext::new(format!("of span {i}"))).collect();
        let spans = contexts.iter().enumerate().map(|(i, context)| {
            context.scope(|| if i % 2 == 1 { info_span!("span", logcontext.enter = true) } else { info_span!("span") })
        });
        let spans: Vec<_> = spans.collect();
        let thread = Frame { context: LogContext::sentinel(), open: Vec::new() };
        let mut thread = Thread { spans, model: Model { contexts, frames: vec![thread] } };
        thread.run(&steps);
        thread.leave_all_of_this_frame();
        // Those that have changed nothing are left as well, some more often than they were entered.
        for span in &thread.spans {
            exit(span);
        }
        prop_assert!(current_context().is_sentinel());
        prop_assert!(rig.test.reports().is_empty());
    }
}
