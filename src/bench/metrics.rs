//! Every metric that a benchmark can put into a result: what it is called, and which direction of it is good.
//!
//! A metric is declared here once. Comparisons, tables, figures and reports read the list; nothing is inferred from a name. A
//! result file of another version may hold a metric that is not in the list: it has no direction, and its own name is its
//! label. How each is computed is in `measure`.

use serde::{Deserialize, Serialize};

/// Which direction of a metric is good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Better {
    /// As an error.
    Lower,
    /// As an agreement.
    Higher,
}

/// What a metric is about. A report has one heat map per family, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MetricFamily {
    /// Distances and correlations of mean effects.
    Effects,
    /// Whether the truly changed genes are found.
    ChangedGenes,
    /// Predicted cells against observed cells, as sets.
    Populations,
    /// The predicted spread against the observed one, gene by gene.
    Calibration,
    /// Predicted and observed mean embeddings, in one space for all models.
    Embeddings,
    /// Gene sets that an effect touches.
    GeneSets,
    /// Where a double departs from the sum of its singles.
    Interactions,
}

impl MetricFamily {
    /// All families, in the order of a report.
    pub const ALL: [Self; 7] = [
        Self::Effects,
        Self::ChangedGenes,
        Self::Populations,
        Self::Calibration,
        Self::Embeddings,
        Self::GeneSets,
        Self::Interactions,
    ];

    /// Its heading in a report.
    pub fn title(self) -> &'static str {
        match self {
            Self::Effects => "Mean effects",
            Self::ChangedGenes => "Which genes change",
            Self::Populations => "Populations of cells",
            Self::Calibration => "Calibration",
            Self::Embeddings => "Mean embeddings",
            Self::GeneSets => "Gene sets",
            Self::Interactions => "Genetic interactions",
        }
    }
}

/// One metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Metric {
    /// Its name in results, as `l2_top1000`.
    pub name: &'static str,
    /// Its name for people, as `L2 top 1000`.
    pub label: &'static str,
    /// What it is about.
    pub family: MetricFamily,
    /// Whether a lower or a higher value is better; `None` for a metric that only describes: a coverage, which should be its
    /// level; a p-value, which is uniform where nothing differs; a property of the truth.
    pub better: Option<Better>,
    /// Its unit, in terms of the effects' own (log-normalised expression for a dataset of cells); `None` for a pure number.
    pub unit: Option<&'static str>,
    /// Its place in short tables, from 1; `None` where only the full tables have it.
    pub headline: Option<u8>,
}

impl Metric {
    /// The metric of this name; `None` for one that this version does not know.
    pub fn of(name: &str) -> Option<&'static Self> {
        METRICS.iter().find(|metric| metric.name == name)
    }

    /// The metrics of short tables, in their order: how far, in which direction, whether a prediction is
    /// nearest to its own condition, and whether cells, interactions and changed genes are right.
    pub fn headlines() -> Vec<&'static Self> {
        let mut headlines: Vec<&Self> = METRICS.iter().filter(|metric| metric.headline.is_some()).collect();
        headlines.sort_by_key(|metric| metric.headline);
        headlines
    }

    const fn headline(mut self, place: u8) -> Self {
        self.headline = Some(place);
        self
    }
}

/// Whether a lower or a higher value of the metric is better; `None` for one that only describes, or that this version does
/// not know.
pub fn better(metric: &str) -> Option<Better> {
    Metric::of(metric)?.better
}

/// The name of a metric for people; its own name if this version does not know it.
pub fn label(metric: &str) -> &str {
    Metric::of(metric).map_or(metric, |known| known.label)
}

use MetricFamily::{Calibration, ChangedGenes, Effects, Embeddings, GeneSets, Interactions, Populations};

const LOWER: Option<Better> = Some(Better::Lower);
const HIGHER: Option<Better> = Some(Better::Higher);
const DESCRIBES: Option<Better> = None;

const EXPRESSION: Option<&str> = Some("expression");
const SQUARED_EXPRESSION: Option<&str> = Some("expression²");
const NO_UNIT: Option<&str> = None;

const fn metric(
    name: &'static str,
    label: &'static str,
    family: MetricFamily,
    better: Option<Better>,
    unit: Option<&'static str>,
) -> Metric {
    Metric { name, label, family, better, unit, headline: None }
}

/// Every metric of this version, those that are measured together side by side.
pub const METRICS: &[Metric] = &[
    // Over all genes.
    metric("l2", "L2", Effects, LOWER, EXPRESSION).headline(1),
    metric("mse", "MSE", Effects, LOWER, SQUARED_EXPRESSION),
    metric("mae", "MAE", Effects, LOWER, EXPRESSION),
    metric("rmse", "RMSE", Effects, LOWER, EXPRESSION),
    metric("pearson", "Pearson", Effects, HIGHER, NO_UNIT).headline(3),
    metric("spearman", "Spearman", Effects, HIGHER, NO_UNIT),
    metric("cosine", "cosine", Effects, HIGHER, NO_UNIT),
    metric("r2", "R2", Effects, HIGHER, NO_UNIT),
    // Against the mean of the training perturbations.
    metric("pearson_systema", "Pearson systema", Effects, HIGHER, NO_UNIT).headline(4),
    metric("spearman_systema", "Spearman systema", Effects, HIGHER, NO_UNIT),
    metric("cosine_systema", "cosine systema", Effects, HIGHER, NO_UNIT),
    // Over the genes that control expresses most.
    metric("l2_top1000", "L2 top 1000", Effects, LOWER, EXPRESSION).headline(2),
    metric("mse_top1000", "MSE top 1000", Effects, LOWER, SQUARED_EXPRESSION),
    metric("mae_top1000", "MAE top 1000", Effects, LOWER, EXPRESSION),
    metric("rmse_top1000", "RMSE top 1000", Effects, LOWER, EXPRESSION),
    metric("pearson_top1000", "Pearson top 1000", Effects, HIGHER, NO_UNIT),
    // Over the genes of largest observed effect.
    metric("mse_top20_effect", "MSE top 20 effect", Effects, LOWER, SQUARED_EXPRESSION),
    metric("pearson_top20_effect", "Pearson top 20 effect", Effects, HIGHER, NO_UNIT),
    metric("mse_top50_effect", "MSE top 50 effect", Effects, LOWER, SQUARED_EXPRESSION),
    metric("pearson_top50_effect", "Pearson top 50 effect", Effects, HIGHER, NO_UNIT),
    metric("mse_top100_effect", "MSE top 100 effect", Effects, LOWER, SQUARED_EXPRESSION),
    metric("pearson_top100_effect", "Pearson top 100 effect", Effects, HIGHER, NO_UNIT),
    metric("top50_recall_effect", "top 50 recall effect", ChangedGenes, HIGHER, NO_UNIT),
    // Weighted by how much a gene differs.
    metric("wmse", "WMSE", Effects, LOWER, SQUARED_EXPRESSION),
    metric("r2w", "R2w", Effects, HIGHER, NO_UNIT).headline(5),
    // Is a prediction nearest to its own perturbation?
    metric("pds_l1", "PDS L1", Effects, HIGHER, NO_UNIT).headline(6),
    metric("pds_l2", "PDS L2", Effects, HIGHER, NO_UNIT),
    metric("pds_cosine", "PDS cosine", Effects, HIGHER, NO_UNIT),
    metric("centroid_accuracy", "centroid accuracy", Effects, HIGHER, NO_UNIT),
    metric("rank_rmse", "rank RMSE", Effects, LOWER, NO_UNIT),
    metric("rank_logfc", "rank logFC", Effects, LOWER, NO_UNIT),
    // PerturBench.
    metric("cosine_logfc", "cosine logFC", Effects, HIGHER, NO_UNIT),
    metric("top50_recall", "top 50 recall", ChangedGenes, HIGHER, NO_UNIT),
    // Over the most changed genes.
    metric("l2_top20_de", "L2 top 20 DE", ChangedGenes, LOWER, EXPRESSION),
    metric("mse_top20_de", "MSE top 20 DE", ChangedGenes, LOWER, SQUARED_EXPRESSION),
    metric("mae_top20_de", "MAE top 20 DE", ChangedGenes, LOWER, EXPRESSION),
    metric("rmse_top20_de", "RMSE top 20 DE", ChangedGenes, LOWER, EXPRESSION),
    metric("pearson_top20_de", "Pearson top 20 DE", ChangedGenes, HIGHER, NO_UNIT),
    metric("l2_top50_de", "L2 top 50 DE", ChangedGenes, LOWER, EXPRESSION),
    metric("mse_top50_de", "MSE top 50 DE", ChangedGenes, LOWER, SQUARED_EXPRESSION),
    metric("mae_top50_de", "MAE top 50 DE", ChangedGenes, LOWER, EXPRESSION),
    metric("rmse_top50_de", "RMSE top 50 DE", ChangedGenes, LOWER, EXPRESSION),
    metric("pearson_top50_de", "Pearson top 50 DE", ChangedGenes, HIGHER, NO_UNIT),
    metric("l2_top100_de", "L2 top 100 DE", ChangedGenes, LOWER, EXPRESSION),
    metric("mse_top100_de", "MSE top 100 DE", ChangedGenes, LOWER, SQUARED_EXPRESSION),
    metric("mae_top100_de", "MAE top 100 DE", ChangedGenes, LOWER, EXPRESSION),
    metric("rmse_top100_de", "RMSE top 100 DE", ChangedGenes, LOWER, EXPRESSION),
    metric("pearson_top100_de", "Pearson top 100 DE", ChangedGenes, HIGHER, NO_UNIT),
    metric("l2_top20_de_non_dropout", "L2 top 20 DE non dropout", ChangedGenes, LOWER, EXPRESSION),
    metric("mse_top20_de_non_dropout", "MSE top 20 DE non dropout", ChangedGenes, LOWER, SQUARED_EXPRESSION),
    metric("mae_top20_de_non_dropout", "MAE top 20 DE non dropout", ChangedGenes, LOWER, EXPRESSION),
    metric("rmse_top20_de_non_dropout", "RMSE top 20 DE non dropout", ChangedGenes, LOWER, EXPRESSION),
    metric("pearson_top20_de_non_dropout", "Pearson top 20 DE non dropout", ChangedGenes, HIGHER, NO_UNIT),
    // Does the predicted effect find the changed genes?
    metric("precision_at_20", "precision@20", ChangedGenes, HIGHER, NO_UNIT),
    metric("recall_at_20", "recall@20", ChangedGenes, HIGHER, NO_UNIT),
    metric("precision_at_50", "precision@50", ChangedGenes, HIGHER, NO_UNIT),
    metric("recall_at_50", "recall@50", ChangedGenes, HIGHER, NO_UNIT),
    metric("precision_at_100", "precision@100", ChangedGenes, HIGHER, NO_UNIT),
    metric("recall_at_100", "recall@100", ChangedGenes, HIGHER, NO_UNIT),
    metric("auroc", "AUROC", ChangedGenes, HIGHER, NO_UNIT),
    metric("average_precision", "average precision", ChangedGenes, HIGHER, NO_UNIT),
    metric("des_by_effect", "DES by effect", ChangedGenes, HIGHER, NO_UNIT).headline(9),
    metric("de_direction_match", "DE direction match", ChangedGenes, HIGHER, NO_UNIT),
    metric("de_spearman_lfc_sig", "DE Spearman lfc sig", ChangedGenes, HIGHER, NO_UNIT),
    // Tests of the predicted cells.
    metric("des", "DES", ChangedGenes, HIGHER, NO_UNIT),
    metric("de_sig_genes_recall", "DE sig genes recall", ChangedGenes, HIGHER, NO_UNIT),
    metric("de_auprc", "DE AUPRC", ChangedGenes, HIGHER, NO_UNIT),
    metric("de_auroc", "DE AUROC", ChangedGenes, HIGHER, NO_UNIT),
    metric("pearson_delta", "Pearson delta", Effects, HIGHER, NO_UNIT),
    // Sets of cells.
    metric("edistance", "squared E-distance", Populations, LOWER, SQUARED_EXPRESSION).headline(7),
    metric("edistance_plain", "plain E-distance", Populations, LOWER, EXPRESSION),
    metric("mmd_rbf", "MMD RBF", Populations, LOWER, NO_UNIT),
    metric("mmd_energy", "MMD energy", Populations, LOWER, EXPRESSION),
    metric("sliced_wasserstein", "sliced wasserstein", Populations, LOWER, EXPRESSION),
    metric("variance_correlation", "variance correlation", Populations, HIGHER, NO_UNIT),
    metric("zero_fraction_error", "zero fraction error", Populations, LOWER, NO_UNIT),
    metric("knn_retrieval", "KNN retrieval", Populations, HIGHER, NO_UNIT),
    metric("control_separation", "control separation", Populations, DESCRIBES, SQUARED_EXPRESSION),
    metric("etest_p_adjusted", "etest p adjusted", Populations, DESCRIBES, NO_UNIT),
    metric("energy_test_rejected", "energy test rejected", Populations, LOWER, NO_UNIT),
    // Spread between cells.
    metric("coverage_50", "coverage 50", Calibration, DESCRIBES, NO_UNIT),
    metric("coverage_90", "coverage 90", Calibration, DESCRIBES, NO_UNIT),
    metric("crps", "CRPS", Calibration, LOWER, EXPRESSION),
    metric("crps_point", "CRPS point", Calibration, LOWER, EXPRESSION),
    // Mean embeddings.
    metric("embedding_cosine", "embedding cosine", Embeddings, HIGHER, NO_UNIT),
    metric("embedding_cosine_shift", "embedding cosine of shift", Embeddings, HIGHER, NO_UNIT),
    metric("embedding_l2", "embedding L2", Embeddings, LOWER, EXPRESSION),
    metric("embedding_retrieval", "embedding retrieval", Embeddings, HIGHER, NO_UNIT),
    metric("embedding_top1", "embedding top 1", Embeddings, HIGHER, NO_UNIT),
    // Gene sets.
    metric("enrichment_spearman", "enrichment Spearman", GeneSets, HIGHER, NO_UNIT),
    metric("enrichment_jaccard", "enrichment jaccard", GeneSets, HIGHER, NO_UNIT),
    metric("overrepresentation_spearman", "overrepresentation Spearman", GeneSets, HIGHER, NO_UNIT),
    metric("overrepresentation_jaccard", "overrepresentation jaccard", GeneSets, HIGHER, NO_UNIT),
    // Genes in doubles.
    metric("interaction_auprc", "interaction AUPRC", Interactions, HIGHER, NO_UNIT).headline(8),
    metric("interaction_auroc", "interaction AUROC", Interactions, HIGHER, NO_UNIT),
    metric("interaction_auprc_suppressive", "interaction AUPRC suppressive", Interactions, HIGHER, NO_UNIT),
    metric("interaction_auroc_suppressive", "interaction AUROC suppressive", Interactions, HIGHER, NO_UNIT),
    metric("interaction_f1_synergy", "interaction F1 synergy", Interactions, HIGHER, NO_UNIT),
    metric("interaction_f1_suppressive", "interaction F1 suppressive", Interactions, HIGHER, NO_UNIT),
    metric("interaction_prevalence", "interaction prevalence", Interactions, DESCRIBES, NO_UNIT),
    metric(
        "interaction_prevalence_suppressive",
        "interaction prevalence suppressive",
        Interactions,
        DESCRIBES,
        NO_UNIT,
    ),
    // Doubles as a whole.
    metric("gi_magnitude_spearman", "GI magnitude Spearman", Interactions, HIGHER, NO_UNIT),
    metric("gi_model_fit_spearman", "GI model fit Spearman", Interactions, HIGHER, NO_UNIT),
    metric("gi_similarity_spearman", "GI similarity Spearman", Interactions, HIGHER, NO_UNIT),
    metric("gi_equality_spearman", "GI equality Spearman", Interactions, HIGHER, NO_UNIT),
    metric("gi_magnitude_error", "GI magnitude error", Interactions, LOWER, NO_UNIT),
    metric("gi_class_accuracy", "GI class accuracy", Interactions, HIGHER, NO_UNIT),
    metric("gi_precision_at_10_synergy", "GI precision@10 synergy", Interactions, HIGHER, NO_UNIT),
    metric("gi_precision_at_10_suppression", "GI precision@10 suppression", Interactions, HIGHER, NO_UNIT),
    metric("gi_precision_at_10_neomorphism", "GI precision@10 neomorphism", Interactions, HIGHER, NO_UNIT),
    metric("gi_precision_at_10_redundancy", "GI precision@10 redundancy", Interactions, HIGHER, NO_UNIT),
    metric("gi_precision_at_10_epistasis", "GI precision@10 epistasis", Interactions, HIGHER, NO_UNIT),
];
