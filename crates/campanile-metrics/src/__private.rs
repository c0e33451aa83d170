//! The code that `#[observe]` expands to. It may change in any version.

mod call;
mod future;
mod logged;
mod output;
mod site;

pub use tracing;

pub use self::call::Call;
pub use self::future::Observed;
pub use self::output::{
    AnyOutput, AnyState, ByType, Done, Failure, Fallible, Finished, NoSource, NotShown, Output,
    Unfinished, finished, hook, is_ok_by,
};
pub use self::site::{Ended, LabelAt, Names, Site};
