//! Query shapes: rankings, LIMIT, deduplication, OVER.

use super::generator::Shape;

/// The shapes of this area.
pub(super) const SHAPES: &[Shape] = &[];
