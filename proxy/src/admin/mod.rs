//! Admin: the endpoints by which an operator sees and steers a running gateway. Knows [`Control`] and not how a
//! reload works.

mod control;

pub use control::{Ask, Control, ExplainedStep, ExplainedTarget, Explanation};
