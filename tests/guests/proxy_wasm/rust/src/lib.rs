//! What the guests of every SDK do, in Rust: greet in a request's head, deny `/deny`, ask `auth` about `/call`, put
//! another body in the place of what `/body` answers, and sign responses. The tests hold all of them to the same.

use std::time::Duration;

use proxy_wasm::{
    traits::{Context, HttpContext, RootContext},
    types::{Action, ContextType, LogLevel},
};

proxy_wasm::main! {{
    proxy_wasm::set_log_level(LogLevel::Info);
    proxy_wasm::set_root_context(|_| -> Box<dyn RootContext> { Box::new(Root { greeting: String::new() }) });
}}

struct Root {
    greeting: String,
}

impl Context for Root {}

impl RootContext for Root {
    fn on_configure(&mut self, _: usize) -> bool {
        let config = self.get_plugin_configuration().unwrap_or_default();
        self.greeting = String::from_utf8_lossy(&config).into_owned();
        if self.greeting.is_empty() {
            log::error!("there is no greeting");
        }
        !self.greeting.is_empty()
    }

    fn create_http_context(&self, _: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(Stream { greeting: self.greeting.clone(), replaces: false }))
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}

struct Stream {
    greeting: String,
    replaces: bool,
}

impl HttpContext for Stream {
    fn on_http_request_headers(&mut self, _: usize, _: bool) -> Action {
        let who = self.get_http_request_header("x-name").unwrap_or_else(|| "stranger".into());
        self.set_http_request_header("x-greeting", Some(&format!("{}, {who}", self.greeting)));
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
            path => {
                self.replaces = path == Some("/body");
                Action::Continue
            }
        }
    }

    fn on_http_response_headers(&mut self, _: usize, _: bool) -> Action {
        self.set_http_response_header("powered-by", Some("proxy-wasm"));
        if self.replaces {
            self.set_http_response_header("content-length", None);
        }
        Action::Continue
    }

    fn on_http_response_body(&mut self, size: usize, end: bool) -> Action {
        if !self.replaces {
            return Action::Continue;
        }
        if !end {
            return Action::Pause;
        }
        self.set_http_response_body(0, size, format!("{}!", self.greeting).as_bytes());
        Action::Continue
    }

    fn on_log(&mut self) {
        let path = self.get_property(vec!["request", "path"]).unwrap_or_default();
        log::info!("seen {}", String::from_utf8_lossy(&path));
    }
}

impl Context for Stream {
    fn on_http_call_response(&mut self, _: u32, _: usize, _: usize, _: usize) {
        let status = self.get_http_call_response_header(":status").unwrap_or_default();
        self.set_http_request_header("x-asked", Some(&status));
        self.resume_http_request();
    }
}
