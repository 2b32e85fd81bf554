//! `genailab doctor`.

use crate::cuda;
use genailab::{
    Error, Result,
    data::{DataKind, fetch::cache_dir},
    device::{Device, Resources, nvidia_gpus},
    model::{presets::largest_for, registry},
    nn::gpu,
};
use std::{
    env,
    fmt::Write,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// Say what works on this machine, and what to install for the rest.
///
/// Exit code 0 if models can be trained on the CPU, 1 if something stands in the way of that.
#[derive(clap::Args)]
pub struct Args {}

/// How one thing was found to be.
enum Finding {
    Works(String),
    /// Not needed to train a model on the CPU.
    Optional(String),
    Broken(String),
}
use Finding::{Broken, Optional, Works};

/// Memory below which the built-in dataset may not fit beside a desktop.
const LITTLE_MEMORY: u64 = 2 << 30;

pub fn run(_args: &Args) -> Result<()> {
    let resources = Resources::detect();
    let mut text = format!("genailab {} on {} {}\n\n", env!("CARGO_PKG_VERSION"), env::consts::OS, env::consts::ARCH);
    let findings = [
        ("processor", Works(format!("{} cores", resources.cores))),
        ("memory", memory(resources)),
        ("cpu", Works("computes".to_owned())),
        ("cuda", device(Device::Cuda(0))),
        ("metal", device(Device::Metal)),
        ("vulkan", device(Device::Vulkan)),
        ("HDF5", hdf5_library()),
        ("cache folder", cache()),
        ("Rust", rust()),
        ("Jupyter kernel", kernel()),
        ("Python", python()),
    ];
    let mut broken = Vec::new();
    for (name, finding) in &findings {
        let (mark, found) = match finding {
            Works(found) => ("ok", found),
            Optional(found) => ("--", found),
            Broken(found) => {
                broken.push(*name);
                ("!!", found)
            }
        };
        let _ = writeln!(text, "{mark}  {name:<15} {found}");
    }
    if broken.is_empty() {
        let _ = writeln!(text, "\nmodels can be trained here");
    }
    match "auto".parse::<Device>().and_then(|auto| auto.check().map(|()| auto)) {
        Ok(auto) => {
            let (size, why) = largest_for(auto, resources);
            let _ = writeln!(text, "--device auto is {auto}: {}", Device::reason());
            let _ = writeln!(text, "models that come in sizes: --preset auto is {size} at most: {why}");
        }
        Err(error) => {
            let _ = writeln!(text, "--device auto cannot be used: {}: {error}", Device::reason());
        }
    }
    text += "\nmodels (train --model NAME, from datasets of):\n";
    for family in registry::Registry::default().families() {
        let data = family.learns_from().iter().map(|kind| match kind {
            DataKind::Cells => "cells",
            DataKind::Effects => "effects",
        });
        let data = data.collect::<Vec<_>>().join(" or ");
        let _ = writeln!(text, "    {:<16} {data:<18} {}", family.kind(), family.about());
    }
    crate::print(&text)?;
    if broken.is_empty() {
        return Ok(());
    }
    Err(Error::config(format!("not ready: {} (the lines marked !! say what to do)", broken.join(", "))))
}

fn memory(resources: Resources) -> Finding {
    let gigabytes = |bytes: u64| format!("{:.1} GB", bytes as f64 / 1e9);
    match (resources.memory, resources.available) {
        (Some(total), _) if total < LITTLE_MEMORY => {
            Optional(format!("{}: little; choose fewer genes or a smaller batch", gigabytes(total)))
        }
        (Some(total), Some(free)) => Works(format!("{}, {} free", gigabytes(total), gigabytes(free))),
        (Some(total), None) => Works(gigabytes(total)),
        (None, _) => Optional("the system does not say how much there is".to_owned()),
    }
}

fn device(device: Device) -> Finding {
    match device.check() {
        Ok(()) if matches!(device, Device::Metal | Device::Vulkan) => gpus(),
        Ok(()) => Works("computes".to_owned()),
        Err(_) if device == Device::Cuda(0) && cfg!(not(feature = "cuda")) => in_other_program(),
        // The message begins with the device's name, which stands in front already.
        Err(error) => {
            let text = error.to_string();
            Optional(text.split_once(": ").map_or(text.clone(), |(_, rest)| rest.to_owned()))
        }
    }
}

/// Whether `--device cuda` can start the program for NVIDIA GPUs.
fn in_other_program() -> Finding {
    let gpus = match nvidia_gpus() {
        0 => "no NVIDIA GPU, or no driver for one, is visible to this process".to_owned(),
        1 => "an NVIDIA GPU is there".to_owned(),
        count => format!("{count} NVIDIA GPUs are there"),
    };
    match (cuda::program(), nvidia_gpus()) {
        (Some(program), 1..) => Works(format!("{gpus}; --device cuda starts {}", program.display())),
        (Some(program), 0) => Optional(format!("{gpus}; {} waits for one", program.display())),
        (None, _) => Optional(format!("{gpus}; `make cuda` builds the program for it, genailab-cuda")),
    }
}

/// The adapters that wgpu finds, the one that is taken first.
fn gpus() -> Finding {
    match gpu::adapters() {
        Ok(adapters) => {
            let names: Vec<String> = adapters.iter().map(ToString::to_string).collect();
            Works(format!("computes on {}", names.join("; not taken: ")))
        }
        Err(error) => Optional(error.to_string()),
    }
}

/// The library's version, after writing and reading a file with it.
fn hdf5_library() -> Finding {
    let round_trip = || -> std::result::Result<bool, Box<dyn std::error::Error>> {
        let dir = tempfile::tempdir()?;
        let path = dir.path().join("doctor.h5");
        hdf5::File::create(&path)?.new_dataset_builder().with_data(&[1.0f32, 2.0, 3.0]).create("x")?;
        Ok(hdf5::File::open(&path)?.dataset("x")?.read_raw::<f32>()? == [1.0, 2.0, 3.0])
    };
    let (major, minor, patch) = hdf5::library_version();
    let name = format!("{major}.{minor}.{patch}");
    match round_trip() {
        Ok(true) => Works(name),
        Ok(false) => Broken(format!("{name} reads other numbers than it wrote; install another libhdf5")),
        Err(error) => Broken(format!("{name} cannot write a file in {}: {error}", env::temp_dir().display())),
    }
}

fn cache() -> Finding {
    let writable = |dir: &Path| fs::create_dir_all(dir).and_then(|()| tempfile::tempfile_in(dir)).map(drop);
    match cache_dir() {
        Ok(dir) => match writable(&dir) {
            Ok(()) => Works(dir.display().to_string()),
            Err(error) => Broken(format!("cannot write to {}: {error}; set GENAILAB_CACHE", dir.display())),
        },
        Err(error) => Broken(error.to_string()),
    }
}

/// The notebooks compile their cells; rust-src tells evcxr the types of std.
fn rust() -> Finding {
    let Some(version) = answer("cargo", &["--version"]) else {
        return Optional("no cargo: the notebooks need it; https://rustup.rs".to_owned());
    };
    let has_source = answer("rustc", &["--print", "sysroot"])
        .is_some_and(|root| Path::new(&root).join("lib/rustlib/src/rust/library").is_dir());
    if has_source {
        Works(version)
    } else {
        Optional(format!("{version}, without rust-src: the notebooks need `rustup component add rust-src`"))
    }
}

fn kernel() -> Finding {
    let mut places = vec![PathBuf::from(".venv/share/jupyter"), PathBuf::from("/usr/local/share/jupyter")];
    places.extend(env::var_os("JUPYTER_DATA_DIR").map(PathBuf::from));
    places.extend(env::var_os("JUPYTER_PATH").iter().flat_map(env::split_paths));
    places.extend(env::var_os("VIRTUAL_ENV").map(|venv| Path::new(&venv).join("share/jupyter")));
    places.extend(dirs::data_dir().map(|dir| dir.join("jupyter")));
    places.extend(dirs::home_dir().map(|dir| dir.join("Library/Jupyter")));
    let spec = places.iter().map(|place| place.join("kernels/genailab/kernel.json")).find(|spec| spec.is_file());
    let Some(spec) = spec else {
        return Optional("not registered: `make lab` does it, and starts JupyterLab".to_owned());
    };
    let json = fs::read(&spec).ok().and_then(|text| serde_json::from_slice::<serde_json::Value>(&text).ok());
    let binary = json.as_ref().and_then(|json| json["argv"][0].as_str());
    match binary {
        Some(binary) if Path::new(binary).is_file() => Works(format!("{} starts {binary}", spec.display())),
        Some(binary) => Optional(format!("{} starts {binary}, which is gone: `make lab` repairs it", spec.display())),
        None => Optional(format!("{} cannot be read: `make lab` repairs it", spec.display())),
    }
}

fn python() -> Finding {
    let venv = Path::new(".venv/bin/python");
    let python = env::var_os("GENAILAB_PYTHON").map_or_else(|| venv.to_owned(), PathBuf::from);
    let report = "import anndata, scanpy, sys; print('Python', sys.version.split()[0], 'anndata', anndata.__version__)";
    if !python.is_file() {
        return Optional(format!("no {}: only tests and JupyterLab need it; `make setup` makes it", python.display()));
    }
    match answer(&python, &["-c", report]) {
        Some(versions) => Works(versions),
        None => Optional(format!("{} has no anndata and scanpy: `make setup` repairs it", python.display())),
    }
}

/// The first line that a command prints; `None` if it fails or is not there.
fn answer(command: impl AsRef<std::ffi::OsStr>, args: &[&str]) -> Option<String> {
    let output = Command::new(command).args(args).output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8_lossy(&output.stdout).lines().next()?.trim().to_owned())
}
