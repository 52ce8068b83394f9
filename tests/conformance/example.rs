//! An example of a module of tests.

use columba_testkit::persistent;

use crate::stage::{Group, Stage, tests};

pub(crate) const TESTS: &[Group] = &[tests!(ALL => a_session_keeps_what_came_meanwhile)];

fn a_session_keeps_what_came_meanwhile(stage: &Stage) {
    let client = stage.connect("a", persistent);
    client.subscribe("kept/meanwhile", 1);
    client.drop_link();
    stage.connect("b", |_| ()).publish("kept/meanwhile", 1, "x");
    stage.connect("a", persistent).expect_all(&["PUBLISH kept/meanwhile=x q1 #1"]);
}
