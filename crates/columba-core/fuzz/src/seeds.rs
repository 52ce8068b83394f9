//! A corpus to start from.

use std::fs;
use std::path::Path;

/// Writes what `all` makes into the folder that `COLUMBA_FUZZ_SEEDS` names, if it names one. The engine reads its
/// corpus after that, so one run can do both.
pub fn write(all: impl FnOnce() -> Vec<Vec<u8>>) {
    let Some(folder) = std::env::var_os("COLUMBA_FUZZ_SEEDS") else { return };
    let folder = Path::new(&folder);
    fs::create_dir_all(folder).expect("the folder for the seeds can be made");
    for (number, seed) in all().iter().enumerate() {
        fs::write(folder.join(format!("seed-{number}")), seed).expect("a seed can be written");
    }
}

/// Bytes that look random and depend on `seed` alone (`SplitMix64`).
pub(crate) fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed;
    let next = |_| {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) as u8
    };
    (0..len).map(next).collect()
}
