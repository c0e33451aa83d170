//! Tests of the whole, through the public API and real sockets.

#![expect(clippy::unwrap_used, reason = "what fails here fails a test")]

// A lexer for the tests on sources.
mod source;

// What the workspace depends on.
mod workspace;

// Modules of a crate import in one direction.
mod modules;

// Comments and Markdown have no banned phrase and no long line.
mod words;

// A service in this process, and clients of both versions of HTTP.
mod host;

// The life of a request, over real sockets.
mod lifecycle;

// Two servers of one handle.
mod two_servers;

// Background work that panics or blocks.
mod background;

// A server that stops while clients are at it.
mod drain;

// Our registry beside another library's.
mod backends;

// What a page says.
mod exposition;

// Exchanges that clients abandon, over real sockets.
mod aborts;

// Requests to other services, by hyper-util and reqwest.
mod outgoing;

// Functions that a request calls, and figures that none does.
mod observe;

// What is emitted faster than it is taken.
mod overflow;

// The orders example as built.
mod orders;

// The alerts of the orders service, through restarts and outages of the channel.
mod alerts;

// The other examples as built.
mod examples;
