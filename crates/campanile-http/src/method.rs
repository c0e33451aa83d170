use http::Method;

/// Returns a method's label value: one of the nine methods of RFC 9110 and RFC 5789, or `_OTHER`.
///
/// A client can send any token as its method, so the raw method must not become a label value.
/// `_OTHER` is OpenTelemetry's value for unknown methods.
///
/// ```
/// use campanile_http::method_label;
/// use http::Method;
///
/// assert_eq!(method_label(&Method::GET), "GET");
/// assert_eq!(method_label(&Method::from_bytes(b"FOO")?), "_OTHER");
/// assert_eq!(method_label(&Method::from_bytes(b"get")?), "_OTHER");
/// # Ok::<_, http::method::InvalidMethod>(())
/// ```
#[inline]
pub fn method_label(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::DELETE => "DELETE",
        Method::PATCH => "PATCH",
        Method::HEAD => "HEAD",
        Method::OPTIONS => "OPTIONS",
        Method::CONNECT => "CONNECT",
        Method::TRACE => "TRACE",
        _ => "_OTHER",
    }
}
