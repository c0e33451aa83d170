use std::future::Future;

use super::send::Sent;
use super::transport::Transport;

/// Sends batches of one signal.
pub(super) trait Export: Send + 'static {
    type Item: Send + 'static;

    fn export(&mut self, batch: Vec<Self::Item>) -> impl Future<Output = Sent> + Send;

    fn transport(&self) -> &Transport;
}
