//! The methods that the heads of requests and responses have in common, once, over the two resources of the ABI.

/// The methods of a head's fields, for a type whose first field is the resource.
macro_rules! header_methods {
    () => {
        /// The first value of a field, if it is UTF-8.
        ///
        /// ```
        /// # use tidegate_guest::testing::{ClientRequest, Host, UpstreamResponse};
        /// # let exchange = (ClientRequest::get("/").header("accept", "*/*"), UpstreamResponse::new(200).header("accept", "*/*"));
        /// # Host::new().with_heads(exchange, |request, response| {
        /// assert_eq!(request.header("accept").as_deref(), Some("*/*"));
        /// assert_eq!(response.header("accept").as_deref(), Some("*/*"));
        /// # });
        /// ```
        pub fn header(&self, name: &str) -> Option<String> {
            self.header_bytes(name).and_then(|value| String::from_utf8(value).ok())
        }

        /// The first value of a field.
        ///
        /// ```
        /// # use tidegate_guest::testing::{ClientRequest, Host, UpstreamResponse};
        /// # let exchange = (ClientRequest::get("/").header("x", b"\xff"), UpstreamResponse::new(200).header("x", b"\xff"));
        /// # Host::new().with_heads(exchange, |request, response| {
        /// assert_eq!(request.header_bytes("x"), Some(vec![0xff]));
        /// assert_eq!(response.header("x"), None, "it is not UTF-8");
        /// # });
        /// ```
        pub fn header_bytes(&self, name: &str) -> Option<Vec<u8>> {
            self.0.header(name)
        }

        /// Every value of a field, in order.
        ///
        /// ```
        /// # use tidegate_guest::testing::{ClientRequest, Host, UpstreamResponse};
        /// # let exchange = (ClientRequest::get("/").header("a", "1").header("a", "2"), UpstreamResponse::new(200));
        /// # Host::new().with_heads(exchange, |request, response| {
        /// assert_eq!(request.header_values("a"), [b"1", b"2"]);
        /// assert!(response.header_values("a").is_empty());
        /// # });
        /// ```
        pub fn header_values(&self, name: &str) -> Vec<Vec<u8>> {
            self.0.header_values(name)
        }

        /// Every field, names in lower case.
        ///
        /// ```
        /// # use tidegate_guest::testing::{ClientRequest, Host, UpstreamResponse};
        /// # let exchange = (ClientRequest::get("/").header("Accept", "*/*"), UpstreamResponse::new(200));
        /// # Host::new().with_heads(exchange, |request, response| {
        /// assert_eq!(request.headers(), [("accept".to_owned(), b"*/*".to_vec())]);
        /// assert!(response.headers().is_empty());
        /// # });
        /// ```
        pub fn headers(&self) -> Vec<(String, Vec<u8>)> {
            self.0.headers().into_iter().map(|field| (field.name, field.value)).collect()
        }

        /// Sets a field to one value, whatever it had.
        ///
        /// # Errors
        /// [`Refused`]; see there.
        ///
        /// ```
        /// # use tidegate_guest::{Refused, testing::{ClientRequest, Host, UpstreamResponse}};
        /// # let exchange = (ClientRequest::get("/").header("a", "1"), UpstreamResponse::new(200).header("a", "1"));
        /// # Host::new().with_heads(exchange, |request, response| {
        /// request.set_header("a", "2")?;
        /// response.set_header("A", b"2")?;
        /// assert_eq!((request.header("a"), response.header("a")), (Some("2".into()), Some("2".into())));
        /// assert_eq!(request.set_header("content-length", "0"), Err(Refused::Reserved));
        /// assert_eq!(response.set_header("a", "x\r\ny: z"), Err(Refused::Malformed));
        /// # Ok::<(), Refused>(()) }).unwrap();
        /// ```
        pub fn set_header(&self, name: &str, value: impl AsRef<[u8]>) -> Result<(), Refused> {
            Ok(self.0.set_header(name, value.as_ref())?)
        }

        /// Adds a value to a field.
        ///
        /// # Errors
        /// [`Refused`]; see there.
        ///
        /// ```
        /// # use tidegate_guest::{Refused, testing::{ClientRequest, Host, UpstreamResponse}};
        /// # let exchange = (ClientRequest::get("/").header("a", "1"), UpstreamResponse::new(200));
        /// # Host::new().with_heads(exchange, |request, response| {
        /// request.append_header("a", "2")?;
        /// response.append_header("a", "2")?;
        /// assert_eq!((request.header_values("a").len(), response.header_values("a").len()), (2, 1));
        /// # Ok::<(), Refused>(()) }).unwrap();
        /// ```
        pub fn append_header(&self, name: &str, value: impl AsRef<[u8]>) -> Result<(), Refused> {
            Ok(self.0.append_header(name, value.as_ref())?)
        }

        /// Removes every value of a field.
        ///
        /// # Errors
        /// [`Refused`]; see there.
        ///
        /// ```
        /// # use tidegate_guest::{Refused, testing::{ClientRequest, Host, UpstreamResponse}};
        /// # let exchange = (ClientRequest::get("/").header("a", "1"), UpstreamResponse::new(200));
        /// # Host::new().with_heads(exchange, |request, response| {
        /// request.remove_header("a")?;
        /// response.remove_header("a")?;
        /// assert_eq!(request.header("a"), None);
        /// # Ok::<(), Refused>(()) }).unwrap();
        /// ```
        pub fn remove_header(&self, name: &str) -> Result<(), Refused> {
            Ok(self.0.remove_header(name)?)
        }

        /// Lets the body that follows pass without the plugin and without being held, whatever [`Phases`] it asked
        /// for: a plugin that wants JSON lets everything else stream. To be called when the head is there; later it
        /// changes nothing.
        ///
        /// ```
        /// # use tidegate_guest::testing::{ClientRequest, Host, UpstreamResponse};
        /// # let exchange = (ClientRequest::get("/"), UpstreamResponse::new(200).header("content-type", "image/png"));
        /// # Host::new().with_heads(exchange, |request, response| {
        /// request.skip_body();
        /// if response.header("content-type").as_deref() != Some("application/json") {
        ///     response.skip_body();
        /// }
        /// # });
        /// ```
        ///
        /// [`Phases`]: crate::Phases
        pub fn skip_body(&self) {
            self.0.skip_body();
        }

        /// Where the plugin asked for the whole body: one that is over the bound passes without the plugin, as it is,
        /// and is not refused. To be called when the head is there; later it changes nothing.
        ///
        /// ```
        /// # use tidegate_guest::testing::{ClientRequest, Host, UpstreamResponse};
        /// # Host::new().with_heads((ClientRequest::get("/"), UpstreamResponse::new(200)), |request, response| {
        /// request.pass_large_body();
        /// response.pass_large_body();
        /// # });
        /// ```
        pub fn pass_large_body(&self) {
            self.0.pass_large_body();
        }
    };
}
pub(crate) use header_methods;
