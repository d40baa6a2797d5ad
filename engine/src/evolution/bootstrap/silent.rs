//! An input without rows, for a join of which the other side alone is filled.

use weir_types::{ChangeBatch, OperatorId};

use crate::operators::{Operator, OperatorContext, Progress};
use crate::{Error, Result};

/// Gives nothing; barriers pass it.
pub(crate) struct Silent {
    pub(crate) operator: OperatorId,
}

impl Operator for Silent {
    fn on_batch(&mut self, _: usize, _: ChangeBatch, _: &mut OperatorContext) -> Result<Progress> {
        Err(Error::Internal {
            operator: self.operator.clone(),
            message: "what gives nothing has no input".to_owned(),
        })
    }

    fn give_standing(&mut self, _: &mut OperatorContext) -> Result<Progress> {
        Ok(Progress::Done)
    }
}
