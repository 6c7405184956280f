//! Greets, hides secrets and refuses; see ../README.md.

use http_wasm_guest::{
    Guest,
    host::{Request, Response, admin, feature},
    register,
};

struct Hello {
    greeting: Vec<u8>,
}

impl Guest for Hello {
    fn handle_request(&self, request: &Request, response: &Response) -> (bool, i32) {
        if request.uri().starts_with(b"/denied") {
            response.set_status(403);
            return (false, 0);
        }
        if let Some(name) = request.header.get(b"x-name") {
            request.header.set(b"x-greeting", &[&self.greeting, &b", "[..], &name].concat());
        }
        let body = request.body.read();
        if !body.is_empty() {
            request.body.write(String::from_utf8_lossy(&body).replace("secret", "######").as_bytes());
        }
        (true, 0)
    }

    fn handle_response(&self, _context: i32, _request: &Request, response: &Response, _is_error: bool) {
        response.header.set(b"x-by", b"http-wasm-rust");
    }
}

fn main() {
    admin::enable(feature::BufferRequest | feature::BufferResponse);
    register(Hello { greeting: admin::config().to_vec() });
}
