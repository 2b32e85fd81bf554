//! What is predicted from what, and which genes are hidden for it.

use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// How the counts of a view are disturbed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ViewNoise {
    /// Not at all.
    None,
    /// Drawn anew from a Poisson distribution around the measured count. The measurement's own noise is in both views.
    #[default]
    Poisson,
    /// Each molecule goes to one of the two views, with a probability that is drawn for the cell between 0.2 and 0.8; each
    /// view is scaled as a cell of its own. Of Poisson counts the two are independent given the cell's rates (count
    /// splitting, Neufeld et al. 2024), so that what they share is no noise.
    Split,
}

/// What is predicted from what.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum PretrainingObjective {
    /// From the visible genes of a cell, the teacher's embedding of the hidden ones; what the teacher sees, and so whether this
    /// is the form of I-JEPA (Assran et al. 2023) or of SC-JEPA, says [`TeacherSees`](super::TeacherSees).
    #[default]
    Masks,
    /// Two disturbed views of a cell have the same embedding (VICReg, Bardes et al. 2022): genes are hidden, and counts
    /// disturbed.
    Views {
        /// Share of the genes that is hidden in a view.
        gene_dropout: f64,
        /// How the counts of the two views are disturbed.
        noise: ViewNoise,
    },
    /// Of two disturbed views of each cell, which belong together (InfoNCE): what the other objectives are compared with. The other
    /// cells keep embeddings apart, in place of the terms of `anti_collapse`.
    Contrastive {
        /// Share of the genes that is hidden in a view.
        gene_dropout: f64,
        /// How the counts of the two views are disturbed.
        noise: ViewNoise,
        /// What the cosines of the views are divided by.
        temperature: f32,
    },
    /// The counts of a cell from a sample around its embedding, which is kept near the standard normal distribution (Kingma and
    /// Welling 2014, with negative binomial counts as Lopez et al. 2018): what the other objectives are compared with. The terms of
    /// `anti_collapse` have no part in it.
    Variational {
        /// Weight of the Kullback-Leibler divergence.
        beta: f32,
    },
    /// From the visible genes of a cell, the values of the hidden ones (He et al. 2022, *Masked Autoencoders*): what the
    /// other objectives are compared with.
    Reconstruction,
    /// From some cells of a condition, the teacher's embedding of others, disjoint from them.
    Conditions {
        /// Cells in the context, and as many in the target; fewer where a condition has no `2 * cells`.
        cells: usize,
        /// Sets drawn from each condition; an epoch passes over all of them.
        draws: usize,
        /// Learned tokens of the set encoder that pools the cells.
        latents: usize,
    },
}

impl PretrainingObjective {
    /// Views with the usual strength: 80 % of the genes hidden, Poisson noise.
    pub fn views() -> Self {
        Self::Views { gene_dropout: 0.8, noise: ViewNoise::Poisson }
    }

    /// Views of different molecules of a cell, with 20 % of the genes hidden: of what was tried on validation cells of
    /// Papalexi 2021, the embedding that tells most of the perturbation.
    pub fn split_views() -> Self {
        Self::Views { gene_dropout: 0.2, noise: ViewNoise::Split }
    }

    /// The views of [`Self::split_views`], told apart at a temperature of 0.2.
    pub fn contrastive() -> Self {
        Self::Contrastive { gene_dropout: 0.2, noise: ViewNoise::Split, temperature: 0.2 }
    }

    /// Sets of 32 cells, 40 a condition.
    pub fn conditions() -> Self {
        Self::Conditions { cells: 32, draws: 40, latents: 4 }
    }

    /// Whether a teacher gives the targets.
    pub fn has_teacher(&self) -> bool {
        matches!(self, Self::Masks | Self::Conditions { .. })
    }
}

/// What a target is made of.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum MaskKind {
    /// Genes at random, each subset as likely as any other.
    #[default]
    Random,
    /// Gene sets of a GMT file: as many as are needed to reach the fraction.
    GeneSets {
        /// The file.
        file: PathBuf,
        /// Sets with fewer measured genes are left out.
        min_size: usize,
        /// Sets with more measured genes are left out.
        max_size: usize,
    },
    /// The targets of a transcription factor, from a TSV file `tf<TAB>target[<TAB>weight]`.
    Regulons {
        /// The file.
        file: PathBuf,
        /// Transcription factors with fewer measured targets are left out.
        min_size: usize,
    },
    /// Genes in proportion to how much they tell of the perturbation: the norm of their weights in a linear probe on the
    /// training cells.
    Adversarial,
}

/// Which genes are hidden from the context, and predicted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MaskConfig {
    /// What a target is made of.
    pub kind: MaskKind,
    /// Share of all genes in one target. Default 0.2 (I-JEPA: 0.15 to 0.2).
    pub fraction: f64,
    /// Targets a cell. Default 3 (I-JEPA: 4).
    pub targets: usize,
    /// Probability that a target's gene stays visible in the context. Default 0 (I-JEPA).
    pub overlap: f64,
    /// Different patterns in a batch; cells share them in turn. The cost of telling the network what is hidden grows with
    /// it. Default 16.
    pub patterns: usize,
    /// How counts are disturbed: the context is made of the first view, the target of the second. Default none.
    pub noise: ViewNoise,
}

impl Default for MaskConfig {
    fn default() -> Self {
        Self {
            kind: MaskKind::default(),
            fraction: 0.2,
            targets: 3,
            overlap: 0.0,
            patterns: 16,
            noise: ViewNoise::None,
        }
    }
}
