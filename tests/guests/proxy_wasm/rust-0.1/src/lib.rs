//! What `../rust` does, as far as the first SDK has a way (bodies can be read there and not changed).

use std::{cell::RefCell, time::Duration};

use proxy_wasm::{
    traits::{Context, HttpContext, RootContext},
    types::{Action, LogLevel},
};

thread_local! {
    static GREETING: RefCell<String> = RefCell::default();
}

#[no_mangle]
pub fn _start() {
    proxy_wasm::set_log_level(LogLevel::Info);
    proxy_wasm::set_root_context(|_| -> Box<dyn RootContext> { Box::new(Root) });
    proxy_wasm::set_http_context(|_, _| -> Box<dyn HttpContext> { Box::new(Stream) });
}

struct Root;

impl Context for Root {}

impl RootContext for Root {
    fn on_configure(&mut self, _: usize) -> bool {
        let config = self.get_configuration().unwrap_or_default();
        let greeting = String::from_utf8_lossy(&config).into_owned();
        let is_good = !greeting.is_empty();
        if !is_good {
            log::error!("there is no greeting");
        }
        GREETING.with(|own| own.replace(greeting));
        is_good
    }
}

struct Stream;

impl HttpContext for Stream {
    fn on_http_request_headers(&mut self, _: usize) -> Action {
        let name = self.get_http_request_header("x-name").filter(|name| !name.is_empty());
        let who = name.unwrap_or_else(|| "stranger".into());
        let greeting = GREETING.with(|greeting| format!("{}, {}", greeting.borrow(), who));
        self.set_http_request_header("x-greeting", Some(&greeting));
        self.set_http_request_header("x-secret", None);
        self.add_http_request_header("x-fields", &self.get_http_request_headers().len().to_string());
        match self.get_http_request_header(":path").as_deref() {
            Some("/deny") => {
                let fields = vec![("powered-by", "proxy-wasm")];
                self.send_http_response(403, fields, Some(b"Access forbidden.\n"));
                Action::Pause
            }
            Some("/call") => {
                let fields = vec![(":method", "GET"), (":path", "/asked"), (":authority", "auth.test")];
                self.dispatch_http_call("auth", fields, None, vec![], Duration::from_secs(5)).expect("auth is granted");
                Action::Pause
            }
            _ => Action::Continue,
        }
    }

    fn on_http_response_headers(&mut self, _: usize) -> Action {
        self.set_http_response_header("powered-by", Some("proxy-wasm"));
        Action::Continue
    }

    fn on_log(&mut self) {
        let path = self.get_property(vec!["request", "path"]).unwrap_or_default();
        log::info!("seen {}", String::from_utf8_lossy(&path));
    }
}

impl Context for Stream {
    fn on_http_call_response(&mut self, _: u32, _: usize, bytes: usize, _: usize) {
        // Its numbers for the fields of an answer are not those of the ABI.
        let body = self.get_http_call_response_body(0, bytes).unwrap_or_default();
        self.set_http_request_header("x-asked", Some(if body.is_empty() { "none" } else { "200" }));
        self.resume_http_request();
    }
}
