//! From a file to counts: reading, cleaning, splitting, simulating, fetching.

mod anndata;
mod cell_rows;
mod checks;
mod condition;
mod context;
mod convert;
mod counts;
#[doc(hidden)]
pub mod course;
mod dataset;
pub mod dose;
mod effect_table;
mod effects;
mod embedded;
mod expression;
mod features;
pub mod fetch;
mod gene_features;
mod gene_sets;
mod histograms;
#[doc(hidden)]
pub mod hvg;
mod join;
mod labels;
mod large;
#[doc(hidden)]
pub mod names;
mod narrow;
pub mod normalize;
mod open;
mod perturbation;
mod pick;
pub mod qc;
mod regulons;
mod sample_metadata;
pub mod simulate;
#[doc(hidden)]
pub mod split;
mod static_rows;
mod table;
mod time_course;
mod training;

pub use anndata::{AnnData, AnnDataWriter, MatrixKind, MatrixRef, MatrixSummary, Uns, read_table};
pub use cell_rows::CellRows;
pub use condition::{Condition, Conditions};
pub use context::{ContextColumns, ContextSize, context_sizes};
pub use convert::{ConvertOptions, Converted, convert};
pub use counts::Counts;
pub use course::{CourseData, Double};
pub use dataset::Dataset;
pub use effect_table::{Controls, EffectTable, mean_expression, rows_by_condition};
pub(crate) use effect_table::{in_context, not_trained_alone, similarities, squared_distance};
pub use effects::{Effects, is_effects};
pub use expression::Expression;
pub use fetch::fetch;
pub use gene_features::{FeatureBlock, FeatureKind, FeatureSources, PerturbationFeatures};
pub use gene_sets::{GeneSet, GeneSets, MeasuredSets};
pub use hvg::{HvgFlavour, HvgTable, highly_variable};
pub use join::{DATASET_COLUMN, join};
pub(crate) use labels::perturbation_labels;
pub use labels::{OpenOptions, ReadAs, ReadLabel};
pub use large::LargeFile;
pub(crate) use names::first as first_names;
pub use narrow::{GeneChoice, USUAL_GENES};
pub use normalize::{NORMALISED_TOTAL, TargetSum, usual_total};
pub(crate) use open::library_size;
pub use open::{Opened, open, open_with};
pub(crate) use perturbation::cut_at_plus;
pub(crate) use perturbation::without_guide;
pub use perturbation::{Naming, Perturbation};
pub use qc::{QcConfig, QcReport};
pub use regulons::{Regulon, Regulons};
pub use sample_metadata::{EncodedMetadata, MetadataColumn, MetadataEncoder, MetadataKind, column_numbers};
pub use simulate::{
    BulkConfig, BulkSimulation, CellFactors, InteractionClass, Paired, Simulation, SimulationConfig, TimeCourseConfig,
    TimeCourseSimulation, TrueDoseCurve, Truth,
};
pub use split::{
    HeldOutDose, MIN_CELLS_TO_DIVIDE, NamedCells, NamedSplit, Split, SplitPlan, SplitUnit, TrainingStatistics,
};
pub(crate) use split::{part_of, shuffle};
pub use static_rows::{StaticProfile, static_profiles, with_static};
pub use table::{Column, Table};
pub use time_course::{Course, CourseColumns, CourseLabels, courses};
pub use training::{DataKind, TrainingCells, TrainingData};
