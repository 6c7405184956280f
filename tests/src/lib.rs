//! The harness: what a black-box test of the gateway is written with. Knows the gateway by its front door only.
