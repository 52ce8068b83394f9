//! The codec's table of packets as a corpus to start from.

use std::fs;
use std::path::Path;

use columba_codec::vectors;

/// Writes it into the folder that `COLUMBA_FUZZ_SEEDS` names, if it names one. The engine reads its corpus after that,
/// so one run can do both.
pub(crate) fn write() {
    let Some(folder) = std::env::var_os("COLUMBA_FUZZ_SEEDS") else { return };
    let folder = Path::new(&folder);
    fs::create_dir_all(folder).expect("the folder for the seeds can be made");
    for (number, vector) in vectors::all().enumerate() {
        fs::write(folder.join(format!("seed-{number}")), vector.bytes).expect("a seed can be written");
    }
}
