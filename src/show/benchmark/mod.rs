//! A benchmark in words, tables and figures: `benchmark.report()`.
//!
//! | file | what |
//! |---|---|
//! | `verdict` | the sentences at the top, from the numbers |
//! | `wording` | how a paired comparison is put into words |
//! | `verdict_parts` | sentences on singles apart from combinations, and on predicted cells |
//! | `conditions` | tables per held-out condition and per number of genes |
//! | `table` | models x headline metrics, the rule for bold, what is absent |
//! | `embeddings` | mean embeddings: in the space that all models share, and in a model's own |
//! | `embedding_figures` | their figures |
//! | `figures` | the figures of a benchmark, each also a method for notebooks |
//! | `card` | a model card: what it is, where it works, where it fails, what it costs |
//! | `page` | the whole report, from top to bottom |
//! | `view` | numbers looked up by model, metric and condition |

mod card;
mod conditions;
mod embedding_figures;
mod embeddings;
mod figures;
mod page;
mod table;
mod verdict;
mod verdict_parts;
mod view;
mod wording;

pub use verdict::verdict;

use super::models::is_better;
