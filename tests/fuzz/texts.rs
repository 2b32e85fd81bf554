//! Models, checkpoints, gene sets and settings: read by safe Rust, so a panic can be caught here.

use super::Campaign;
use crate::commands::tool::{self, copy_folder};
use genailab::{
    Result,
    data::{GeneSets, OpenOptions},
    device::Device,
    model::{SettingsFile, registry::Registry},
    nn::Checkpoint,
    predict::baselines::predictor,
};
use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    time::{Duration, Instant},
};
use tempfile::tempdir;

const LONGEST: Duration = Duration::from_secs(10);

/// Writes each damaged file at `name` in a folder (with what `prepare` put there), and reads it.
fn campaign(
    name: &str,
    inputs: usize,
    sources: &[Vec<u8>],
    prepare: impl Fn(&Path),
    read: impl Fn(&Path) -> Result<()> + Sync,
) {
    let folder = tempdir().expect("a folder");
    prepare(folder.path());
    let path = folder.path().join(name);
    // One thread: all files have the same place.
    Campaign::of(inputs).run(name, sources, 1, |_, bytes| {
        std::fs::write(&path, bytes).expect("written");
        let started = Instant::now();
        match catch_unwind(AssertUnwindSafe(|| read(&path))) {
            Err(_) => return Err("it panics".to_owned()),
            Ok(Err(error)) if error.to_string().trim_end().contains('\n') => return Err(format!("two lines: {error}")),
            Ok(_) => {}
        }
        match started.elapsed() {
            took if took > LONGEST => Err(format!("it takes {took:?}")),
            _ => Ok(()),
        }
    });
}

#[test]
fn gene_sets() {
    let text = "HALLMARK_ONE\thttp://a\tKLF1\tSET\tGATA1,1.0\nTWO\t\tFOSB\t\t\nTHREE\tx\tKLF1\tKLF1\n";
    campaign("x.gmt", 2000, &[text.into()], |_| (), |path| GeneSets::open(path).map(drop));
}

#[test]
fn settings() {
    let beside = "perturbation_column = \"guide\"\ncontrol = [\"sgX*\", \"NT\"]\nseparator = \"|\"\nguide_suffix = true\nobs = \"a.csv\"\n";
    let read = |path: &Path| OpenOptions::default().or_beside(&path.with_file_name("x.h5ad")).map(drop);
    campaign("genailab.toml", 2000, &[beside.into()], |_| (), read);
    let models = "[vae_conditional.train]\nepochs = 3\nbatch = 64\n\n[combination]\nridge = 1.0\n[jepa.response]\npredictor = \"initial\"\n";
    let read = |path: &Path| {
        for (name, settings) in SettingsFile::read(path)?.by_model()? {
            predictor(&name)?.configure(&settings)?;
        }
        Ok(())
    };
    campaign("models.toml", 2000, &[models.into()], |_| (), read);
}

#[test]
fn models_and_checkpoints() {
    let model = tool::model();
    let file = |name: &str| vec![std::fs::read(model.join(name)).expect("it was saved")];
    let load = |path: &Path| Registry::default().load(path.parent().expect("a folder"), Device::Cpu).map(drop);
    for (name, inputs) in [("model.json", 300), ("model.safetensors", 300)] {
        campaign(name, inputs, &file(name), |folder| copy_folder(model, folder), load);
    }
    campaign("last.safetensors", 300, &file("model.safetensors"), |_| (), |path| Checkpoint::read(path).map(drop));
}
