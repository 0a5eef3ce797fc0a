//! Calls and their answers.

mod calling;

use calling::{Echo, Other, Sum, echo, echoed, on_both_runtimes};
use logcontext_bus::CallError;

#[test]
fn a_call_is_answered() {
    on_both_runtimes(|rig| async move {
        let bus = rig.bus();
        let served = bus.serve::<Echo>(echoed).start().await.unwrap();
        assert_eq!(bus.call(echo("hello")).await, Ok("hello".to_owned()));
        served.stop().await;
        assert_eq!(bus.call(echo("hello")).await, Err(CallError::NoServer("test.echo")));
    });
}
