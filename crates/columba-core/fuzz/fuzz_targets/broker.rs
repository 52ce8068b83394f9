//! The input is a script for a broker and up to eight clients: see `columba_core_fuzz::script`.
#![no_main]

use columba_core_fuzz::{script, seeds};
use libfuzzer_sys::fuzz_target;

fuzz_target!(init: seeds::write(script::seeds), |data: &[u8]| script::run(data));
