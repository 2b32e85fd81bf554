//! Tokens of single genes: which genes have one, how a value enters it, and that the JEPA is trained with every encoder.

use super::small;
use genailab::{
    data::{Condition, Counts, DataKind, Dataset, Perturbation, TrainingData},
    device::Device,
    dfdx::prelude::{Cpu, NoneTape},
    model::{
        Model, ModelConfig, Trained,
        jepa::{
            EncoderConfig, GeneConfig, Jepa, JepaSettings, NOWHERE, Seen, Size, TeacherSees, TokenConfig,
            TransformerEncoder, ValueTokens,
        },
    },
    ndarray::Array2,
    nn::{IndexSets, SetEncoderConfig, ops::download},
    train::Run,
};
use rand_chacha::{ChaCha8Rng, rand_core::SeedableRng};
use std::sync::Arc;

const VALUES: [ValueTokens; 3] =
    [ValueTokens::Fourier { frequencies: 4 }, ValueTokens::Bins { levels: 8 }, ValueTokens::Ranks { levels: 4 }];

/// Of 12 genes, of which the even ones have a token.
fn encoder(value: ValueTokens) -> TransformerEncoder<Cpu> {
    let config = GeneConfig { genes: 6, value, tokens: 8, depth: 1, ..GeneConfig::of(Size::Tiny) };
    let mut rng = ChaCha8Rng::seed_from_u64(0);
    let mut encoder = TransformerEncoder::of_genes(&Cpu::default(), 12, &config, 6, &mut rng).expect("it fits");
    let place = |gene: u32| if gene.is_multiple_of(2) { gene / 2 } else { NOWHERE };
    encoder.set_places(&(0..12).map(place).collect::<Vec<_>>());
    encoder
}

fn embedded(encoder: &TransformerEncoder<Cpu>, seen: &Seen) -> Array2<f32> {
    let visible = encoder.visible(seen).expect("its genes");
    let tokens = encoder.tokens(&visible, NoneTape, None).expect("it computes");
    download(&encoder.embedding(tokens, &visible).expect("its tokens"))
}

fn whole(encoder: &TransformerEncoder<Cpu>, counts: &Array2<f32>) -> Array2<f32> {
    embedded(encoder, &Seen::whole(Arc::new(Counts::from_dense(counts))))
}

#[test]
fn hidden_genes_and_genes_without_a_token_change_nothing() {
    for value in VALUES {
        let encoder = encoder(value);
        let mut counts = Array2::from_shape_fn((3, 12), |(_, gene)| (gene % 5) as f32);
        // Gene 3 has no token, gene 4 is hidden below.
        counts[[1, 3]] = 50.0;
        counts[[2, 4]] = 1.5;
        let hidden = Arc::new(IndexSets::from_sets([vec![4_u32, 5]]));
        let seen = Seen::masked(&Counts::from_dense(&counts), &[0, 1, 2], hidden, vec![0; 3].into());
        let visible = encoder.visible(&seen).expect("its genes");
        assert_eq!(visible.place[..5], [0, 1, 3, 4, 5], "{value:?}: gene 4, at place 2, has no token");
        let z = embedded(&encoder, &seen);
        assert_eq!((z.row(0), z.row(0)), (z.row(1), z.row(2)), "{value:?}");
        let z = whole(&encoder, &counts);
        assert_eq!(z.row(0), z.row(1), "{value:?}");
        assert_ne!(z.row(0), z.row(2), "{value:?}");
    }
}

#[test]
fn bins_and_ranks_keep_what_their_names_say() {
    let counts =
        |row: [f32; 6]| Array2::from_shape_fn((1, 12), |(_, gene)| if gene % 2 == 0 { row[gene / 2] } else { 0.0 });
    let [_, bins, ranks] = VALUES.map(encoder);
    let a = counts([0.0, 1.0, 2.0, 4.0, 8.0, 16.0]);
    // log1p of 1 and 1.2 is 0.69 and 0.79: one bin of width 0.5; of 4 and 6 it is 1.61 and 1.95.
    let close = counts([0.0, 1.2, 2.0, 6.0, 8.0, 16.0]);
    assert_eq!(whole(&bins, &a), whole(&bins, &close));
    assert_ne!(whole(&bins, &a), whole(&bins, &counts([0.0, 1.8, 2.0, 4.0, 8.0, 16.0])), "0.69 and 1.03");
    // Any increasing change of the counts leaves ranks as they are, and another order does not.
    assert_eq!(whole(&ranks, &a), whole(&ranks, &a.mapv(|x| 3.0 * x * x)));
    assert_ne!(whole(&ranks, &a), whole(&ranks, &counts([0.0, 16.0, 2.0, 4.0, 8.0, 1.0])));
    assert_ne!(
        whole(&ranks, &a),
        whole(&ranks, &counts([1.0, 1.0, 2.0, 4.0, 8.0, 16.0])),
        "no count is a level of its own"
    );
}

fn settings(encoder: EncoderConfig) -> JepaSettings {
    let mut settings = JepaSettings::preset(Size::Tiny);
    if encoder.places().is_none() {
        settings.encoder.teacher.sees = TeacherSees::Target;
    }
    settings.encoder.encoder = encoder;
    settings.encoder.width = 16;
    settings.pretraining.epochs = 2;
    settings.response.training.epochs = 6;
    settings.response.tuning.epochs = 1;
    settings.response.interaction.epochs = 2;
    settings.response.folds = 2;
    settings
}

/// Squared error of the decoded mean effects of the single perturbations, as a share of that of no change.
fn error_of(model: &Jepa, data: &TrainingData, cells: &Dataset, controls: &[usize]) -> f64 {
    let control = model.mean_from(cells, controls, &Condition::of(Perturbation::control()), 0).expect("it decodes");
    let effects = data.effects().expect("there is control");
    let (mut off, mut nothing) = (0.0, 0.0);
    for single in cells.perturbations.iter().filter(|perturbation| perturbation.genes().len() == 1) {
        let condition = Condition::of(single.clone());
        let observed = effects.effect_of(single, None).expect("trained on").mapv(f64::from);
        let predicted = model.mean_from(cells, controls, &condition, 0).expect("it decodes") - &control;
        off += (&predicted - &observed).mapv(|d| d * d).sum();
        nothing += observed.mapv(|d| d * d).sum();
    }
    off / nothing
}

#[test]
fn every_encoder_is_trained_end_to_end_and_saved() {
    let (cells, split) = small();
    let cells = Arc::new(cells);
    let data = TrainingData::of_dataset(Arc::clone(&cells), &split, 0).expect("its own split");
    let controls: Vec<usize> =
        split.train.iter().copied().filter(|&row| cells.perturbation_of(row).is_control()).collect();
    let genes = |value| EncoderConfig::Genes(GeneConfig { genes: 16, value, tokens: 16, ..GeneConfig::of(Size::Tiny) });
    let set = SetEncoderConfig { width: 16, latents: 2, ..TokenConfig::of(Size::Tiny).set };
    let encoders = [
        ("Fourier", genes(VALUES[0])),
        ("bins", genes(VALUES[1])),
        ("ranks", genes(VALUES[2])),
        ("Perceiver", EncoderConfig::Tokens(TokenConfig { identity: 8, zeros: 4, set, ..TokenConfig::of(Size::Tiny) })),
        ("perceptron", EncoderConfig::Mlp { hidden: vec![32] }),
    ];
    for (name, encoder) in encoders {
        let settings = settings(encoder);
        settings.validate().unwrap_or_else(|error| panic!("{name}: {error}"));
        let (model, _) = Jepa::fit(&data, &settings, &mut Run::quiet(0)).unwrap_or_else(|e| panic!("{name}: {e}"));
        let error = error_of(&model, &data, &cells, &controls);
        assert!(error < 0.8, "{name}: {error} of no change");
        let dir = tempfile::tempdir().expect("a folder");
        model.save(dir.path()).expect("written");
        let again = Jepa::load(dir.path(), Device::Cpu).expect("read");
        assert_eq!(
            again.embed(&cells, &controls).expect("its genes"),
            model.embed(&cells, &controls).expect("its genes")
        );
    }
}

#[test]
fn settings_of_gene_tokens_that_cannot_train_are_refused() {
    let refused = |change: &dyn Fn(&mut GeneConfig)| {
        let mut config = GeneConfig::of(Size::Tiny);
        change(&mut config);
        settings(EncoderConfig::Genes(config)).validate().expect_err("refused").to_string()
    };
    assert!(refused(&|c| c.genes = 1).contains("at least 2"));
    assert!(refused(&|c| c.value = ValueTokens::Bins { levels: 1 }).contains("at least 2"));
    assert!(refused(&|c| c.tokens = 0).contains("at least 1"));
    let of_file: JepaSettings =
        toml::from_str("[encoder.encoder]\nkind = \"genes\"\ngenes = 32\nvalue = { kind = \"ranks\", levels = 8 }")
            .expect("the tables of a configuration file");
    let EncoderConfig::Genes(genes) = of_file.encoder.encoder else { panic!("gene tokens") };
    assert_eq!((genes.genes, genes.value), (32, ValueTokens::Ranks { levels: 8 }));
    assert_eq!(JepaSettings::default_for(DataKind::Cells), JepaSettings::preset(Size::Small));
}
