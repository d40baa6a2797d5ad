//! `make bench-machine`: what this machine can do at best with Nexmark's events as text: find their ends, and copy them. Figures
//! of Weir are to be read beside these, taken in the same hour: rented machines differ, and their neighbours too.

use std::hint::black_box;
use std::time::Instant;

/// Bytes that are looked at in one pass: beyond every cache.
const BYTES: usize = 256 << 20;
/// Bytes of an event of the combined file, on average.
const EVENT_BYTES: usize = 370;
const PASSES: usize = 5;

/// Prints the best of some passes, on one thread.
pub fn run() {
    let mut text = vec![b'x'; BYTES];
    text.iter_mut()
        .skip(EVENT_BYTES - 1)
        .step_by(EVENT_BYTES)
        .for_each(|byte| *byte = b'\n');
    let mut copy = vec![0; BYTES];
    let scan = best(|| {
        assert_eq!(
            black_box(memchr::memchr_iter(b'\n', &text)).count(),
            BYTES / EVENT_BYTES
        );
    });
    let copied = best(|| black_box(&mut copy).copy_from_slice(black_box(&text)));
    for (name, seconds) in [("newline scan", scan), ("memory copy", copied)] {
        let events = (BYTES / EVENT_BYTES) as f64 / seconds / 1e6;
        let gigabytes = BYTES as f64 / seconds / 1e9;
        println!(
            "{name:<14}{gigabytes:>7.1} GB/s{events:>8.1} million events of {EVENT_BYTES} bytes a second and thread"
        );
    }
}

fn best(mut pass: impl FnMut()) -> f64 {
    let seconds = (0..PASSES).map(|_| {
        let start = Instant::now();
        pass();
        start.elapsed().as_secs_f64()
    });
    seconds.fold(f64::INFINITY, f64::min)
}
