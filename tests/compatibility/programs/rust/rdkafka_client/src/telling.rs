//! The Rust side of the line protocol, and checks that all cases share.

use std::fmt::Debug;
use std::time::{Duration, Instant};

pub const PATIENCE: Duration = Duration::from_secs(60);

pub type Failure = Box<dyn std::error::Error>;
pub type Told = Result<String, Failure>;

/// Takes the bootstrap addresses and the name of topic and group; gives a note.
pub type Attempt = fn(&str, &str) -> Told;

pub fn tell(attempts: &[(&str, Attempt)]) {
    let arguments: Vec<String> = std::env::args().collect();
    for capability in &arguments[3..] {
        let name = format!("{}-{}", arguments[2], capability);
        let told = match attempts.iter().find(|(known, _)| known == capability) {
            Some((_, attempt)) => attempt(&arguments[1], &name),
            None => Err("the program does not know it".into()),
        };
        let (word, note) = match told {
            Ok(note) => ("passed", note),
            Err(error) => ("failed", error.to_string()),
        };
        let note: Vec<&str> = note.split_whitespace().collect();
        println!("case\t{}\t{}\t{}", capability, word, note.join(" "));
    }
}

pub fn check(holds: bool, message: impl Into<String>) -> Result<(), Failure> {
    if holds {
        Ok(())
    } else {
        Err(message.into().into())
    }
}

pub fn check_equal<T: PartialEq + Debug>(found: T, expected: T, what: &str) -> Result<(), Failure> {
    let shown: String = format!("{what}: {found:?} instead of {expected:?}")
        .chars()
        .take(300)
        .collect();
    check(found == expected, shown)
}

/// Calls `done`, which does the polling itself, until it is so.
pub fn until(mut done: impl FnMut() -> Result<bool, Failure>, what: &str) -> Result<(), Failure> {
    let deadline = Instant::now() + PATIENCE;
    while !done()? {
        check(
            Instant::now() < deadline,
            format!("not within {} s: {what}", PATIENCE.as_secs()),
        )?;
    }
    Ok(())
}

pub fn numbered(name: &str, count: usize) -> Vec<String> {
    (0..count).map(|number| format!("{name}-{number:05}")).collect()
}
