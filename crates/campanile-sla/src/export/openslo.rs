//! OpenSLO, `openslo/v1`: <https://github.com/OpenSLO/OpenSLO>.

mod annotations;
#[cfg(feature = "openslo")]
mod read;
mod write;

#[cfg(feature = "openslo")]
pub use self::read::{OpenSloError, from_open_slo};
