//! What several commands share.
//!
//! | file | what |
//! |---|---|
//! | `data` | how a data file is read |
//! | `public` | public data by their names |
//! | `genes` | which genes are used |
//! | `held_out` | which cells are held out |
//! | `messages` | what is printed |
//! | `interrupts` | Ctrl-C |

mod data;
mod genes;
mod held_out;
mod interrupts;
mod messages;
mod public;

pub use self::{
    data::DataArgs,
    genes::{GenesArg, aligned, with_genes},
    held_out::{Fractions, usual_training_cells},
    interrupts::{check_interrupt, interrupt_flag, listen_for_interrupts},
    messages::{say, say_division, say_labels, tell, warn},
    public::{data_file, fetch_if_public},
};

use genailab::{Error, Result};

/// Refuses the first of these options that was given.
fn refuse_given(mut options: impl Iterator<Item = (&'static str, bool)>, why: &str) -> Result<()> {
    match options.find(|(_, given)| *given) {
        Some((name, _)) => Err(Error::config(format!("{name} has no effect here: {why}; leave it out"))),
        None => Ok(()),
    }
}
