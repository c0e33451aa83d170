//! gRPC calls: how to recognize one, its status, its deadline and its route.

mod call;
mod methods;
mod status;

pub(crate) use self::call::{WEB, is_call, is_grpc, is_health, is_past, timeout};
pub(crate) use self::methods::{CallResponse, Methods};
pub use self::status::GrpcStatus;
