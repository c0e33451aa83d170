use std::error::Error;

/// The limit of causes in a message. A chain of causes may be cyclic.
const MAX_CAUSES: usize = 16;

/// Returns the message of an error, followed by those of its causes.
pub(crate) fn with_causes(error: &dyn Error) -> String {
    let mut last = error.to_string();
    let mut text = last.clone();
    let causes = std::iter::successors(error.source(), |&cause| cause.source());
    for cause in causes.take(MAX_CAUSES) {
        let cause = cause.to_string();
        // Some errors repeat the messages of their causes.
        if !last.contains(&cause) {
            text += ": ";
            text += &cause;
        }
        last = cause;
    }
    text
}
