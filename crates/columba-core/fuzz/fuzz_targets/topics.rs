//! The input is a script of subscribing, publishing and retaining: see `columba_core_fuzz::topics`.
#![no_main]

use columba_core_fuzz::{seeds, topics};
use libfuzzer_sys::fuzz_target;

fuzz_target!(init: seeds::write(topics::seeds), |data: &[u8]| topics::run(data));
