//! The first seeds of the simulation, and that a seed is always the same run.

use columba_simulation::{explain, generate, run};

#[test]
fn two_hundred_workloads_go_as_promised() {
    for seed in 0..200 {
        let failure = run(&generate(seed), false).failure;
        assert!(failure.is_none(), "{}", explain(seed).unwrap_or_default());
    }
}

#[test]
fn a_seed_is_always_the_same_run() {
    for seed in (0..200).step_by(10) {
        let script = generate(seed);
        assert_eq!(script, generate(seed));
        assert_eq!(run(&script, false).digest, run(&script, true).digest, "seed {seed}");
    }
}
