//! Other values for a notebook's parameters, as papermill gives them: the cell tagged `parameters` defines the defaults,
//! and a cell after it, tagged `injected-parameters`, defines some of them again.
//!
//! Rust needs more than papermill's names: a value is written as the kind of literal that the default is, with its type.
//!
//! ```text
//! let epochs: usize = 50;              -p epochs 3          let epochs: usize = 3;
//! let rate = 0.1;                      -p rate 1            let rate = 1.0;
//! let name = String::from("norman");   -p name kang         let name = String::from("kang");
//! let seeds = vec![1, 2];              -p seeds 3,4,5       let seeds = vec![3, 4, 5];
//! ```

use super::notebook::{Notebook, lines};
use anyhow::{Context, Result, bail};
use serde_json::json;
use syn::{Block, Expr, Lit, Local, Pat, Stmt, Token, punctuated::Punctuated};

/// Tag of the cell that defines the parameters.
const PARAMETERS: &str = "parameters";
/// Tag, and where possible id, of the cell that defines them again.
const INJECTED: &str = "injected-parameters";

/// Adds a cell with the values that are given, pairs of name and value, in the place of one that is there.
///
/// # Errors
/// No cell that defines parameters, a name that it does not define, a value of another type.
pub fn inject(notebook: &mut Notebook, given: &[(String, String)]) -> Result<()> {
    notebook.remove_tagged(INJECTED);
    let cell = notebook.code().find(|cell| cell.has_tag(PARAMETERS));
    let cell = cell.with_context(|| format!("no code cell is tagged '{PARAMETERS}', so there is nothing to set"))?;
    let position = cell.position + 1;
    let defaults = defaults(&cell.source())?;
    let mut source = "// Parameters".to_owned();
    for (at, (name, value)) in given.iter().enumerate() {
        if given[at + 1..].iter().any(|(later, _)| later == name) {
            continue;
        }
        let default = defaults.iter().rev().find(|default| default.name == *name).with_context(|| {
            let names: Vec<&str> = defaults.iter().map(|default| default.name.as_str()).collect();
            format!("the cell tagged '{PARAMETERS}' has no `let {name}`; it defines {}", names.join(", "))
        })?;
        source = format!("{source}\n{}", default.with(value).with_context(|| format!("-p {name} {value}"))?);
    }
    let taken = |id: &str| notebook.cells().any(|cell| cell.json()["id"] == id);
    let mut ids = std::iter::once(INJECTED.to_owned()).chain((2..).map(|number| format!("{INJECTED}-{number}")));
    let id = ids.find(|id| !taken(id)).expect("there are more numbers than cells");
    let injected = json!({
        "cell_type": "code",
        "id": id,
        "metadata": {"tags": [INJECTED]},
        "source": lines(&source),
        "outputs": [],
        "execution_count": null,
    });
    notebook.insert(position, injected);
    Ok(())
}

/// A `let` of the cell that defines the parameters.
struct Parameter {
    name: String,
    mutable: bool,
    /// As it stands after the colon.
    kind: Option<String>,
    value: Expr,
}

fn defaults(source: &str) -> Result<Vec<Parameter>> {
    let code: String = source.lines().filter(|line| !line.starts_with([':', '!'])).map(|l| format!("{l}\n")).collect();
    let block = syn::parse_str::<Block>(&format!("{{{code}}}"));
    let block = block.with_context(|| format!("the cell tagged '{PARAMETERS}' is not valid Rust"))?;
    Ok(block.stmts.into_iter().filter_map(Parameter::of).collect())
}

impl Parameter {
    fn of(statement: Stmt) -> Option<Self> {
        let Stmt::Local(Local { pat, init: Some(init), .. }) = statement else { return None };
        let (pat, kind) = match pat {
            Pat::Type(typed) => (*typed.pat, Some(in_one_piece(&typed.ty))),
            other => (other, None),
        };
        let Pat::Ident(ident) = pat else { return None };
        Some(Self { name: ident.ident.to_string(), mutable: ident.mutability.is_some(), kind, value: *init.expr })
    }

    /// The statement with another value.
    fn with(&self, value: &str) -> Result<String> {
        let value = rewrite(&self.value, self.kind.as_deref(), value.trim())?;
        let mutable = if self.mutable { "mut " } else { "" };
        let kind = self.kind.as_ref().map(|kind| format!(": {kind}")).unwrap_or_default();
        Ok(format!("let {mutable}{}{kind} = {value};", self.name))
    }
}

/// The expression with another value in the place of its literal.
fn rewrite(default: &Expr, kind: Option<&str>, value: &str) -> Result<String> {
    match default {
        Expr::Lit(literal) => rewrite_literal(&literal.lit, kind, value),
        // The sign belongs to the value.
        Expr::Unary(unary) if matches!(unary.op, syn::UnOp::Neg(_)) => rewrite(&unary.expr, kind, value),
        Expr::Paren(inner) => rewrite(&inner.expr, kind, value),
        Expr::Reference(inner) => Ok(format!("&{}", rewrite(&inner.expr, None, value)?)),
        // "text".to_owned()
        Expr::MethodCall(call) if call.args.is_empty() => {
            Ok(format!("{}.{}()", rewrite(&call.receiver, None, value)?, call.method))
        }
        // String::from("text")
        Expr::Call(call) if call.args.len() == 1 => {
            Ok(format!("{}({})", in_one_piece(&call.func), rewrite(&call.args[0], None, value)?))
        }
        Expr::Array(array) => Ok(format!("[{}]", rewrite_list(&array.elems, value)?)),
        Expr::Macro(call) if call.mac.path.is_ident("vec") => {
            let elements = call.mac.parse_body_with(Punctuated::<Expr, Token![,]>::parse_terminated);
            Ok(format!("vec![{}]", rewrite_list(&elements.context("its default is a vec! without a list")?, value)?))
        }
        other => bail!("its default `{}` is no number, text, true, false or list of these", in_one_piece(other)),
    }
}

/// All values of a list are of the kind of the default's first.
fn rewrite_list(defaults: &Punctuated<Expr, Token![,]>, values: &str) -> Result<String> {
    let first = defaults.first().context("its default is an empty list, which does not say what it holds")?;
    let inside = values.strip_prefix('[').and_then(|values| values.strip_suffix(']')).unwrap_or(values);
    let values = inside.split(',').map(str::trim).filter(|value| !value.is_empty());
    let unquoted = values.map(|value| value.strip_prefix('"').and_then(|v| v.strip_suffix('"')).unwrap_or(value));
    Ok(unquoted.map(|value| rewrite(first, None, value)).collect::<Result<Vec<_>>>()?.join(", "))
}

fn rewrite_literal(default: &Lit, kind: Option<&str>, value: &str) -> Result<String> {
    match default {
        Lit::Int(int) => {
            let kind = kind.or((!int.suffix().is_empty()).then_some(int.suffix())).unwrap_or("i32");
            let number: i128 = value.replace('_', "").parse().ok().context("a whole number is expected")?;
            if !fits(number, kind) {
                bail!("{number} is too large or too small for {kind}");
            }
            Ok(format!("{number}{}", int.suffix()))
        }
        Lit::Float(float) => {
            let number: f64 = value.replace('_', "").parse().ok().context("a number is expected")?;
            if !number.is_finite() {
                bail!("a finite number is expected");
            }
            Ok(format!("{number:?}{}", float.suffix()))
        }
        Lit::Bool(_) => match value {
            // papermill's users are used to Python's.
            "true" | "True" => Ok("true".to_owned()),
            "false" | "False" => Ok("false".to_owned()),
            _ => bail!("true or false is expected"),
        },
        Lit::Str(_) => Ok(format!("{value:?}")),
        Lit::Char(_) => {
            let mut characters = value.chars();
            match (characters.next(), characters.next()) {
                (Some(character), None) => Ok(format!("{character:?}")),
                _ => bail!("one character is expected"),
            }
        }
        _ => bail!("its default is no number, text, true or false"),
    }
}

fn fits(number: i128, kind: &str) -> bool {
    match kind {
        "u8" => u8::try_from(number).is_ok(),
        "u16" => u16::try_from(number).is_ok(),
        "u32" => u32::try_from(number).is_ok(),
        "u64" | "usize" => u64::try_from(number).is_ok(),
        "u128" => number >= 0,
        "i8" => i8::try_from(number).is_ok(),
        "i16" => i16::try_from(number).is_ok(),
        "i32" => i32::try_from(number).is_ok(),
        "i64" | "isize" => i64::try_from(number).is_ok(),
        // i128, or an alias that only the compiler knows.
        _ => true,
    }
}

/// Code as text, without the spaces that `quote` puts between all tokens.
fn in_one_piece(code: &impl quote::ToTokens) -> String {
    let text = code.to_token_stream().to_string();
    let close =
        [(" :: ", "::"), (" < ", "<"), (" >", ">"), ("& ", "&"), (" , ", ", "), ("[ ", "["), (" ]", "]"), (" (", "(")];
    close.into_iter().fold(text, |text, (apart, close)| text.replace(apart, close))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    const CELL: &str = "// The settings.\n:timing\nlet mut epochs: usize = 50;\nlet rate = 0.1;\nlet shift: i8 = -3;\n\
        let name = String::from(\"norman\");\nlet label: &str = \"a\";\nlet owned: String = \"a\".to_owned();\n\
        let seeds: Vec<u64> = vec![1, 2];\nlet genes = [\"A\", \"B\"];\nlet quick = true;\nlet mark = 'x';\n\
        let big = 1_000u64;\nlet data = load();";

    fn notebook(cell: &str) -> Notebook {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("a.ipynb");
        let code = |id: &str, tags: &[&str], source: &str| {
            json!({"cell_type": "code", "id": id, "metadata": {"tags": tags}, "source": source, "outputs": [],
                   "execution_count": null})
        };
        let cells = [code("injected-parameters", &[], "1"), code("b", &["parameters"], cell), code("c", &[], "2")];
        fs::write(&path, json!({"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": cells}).to_string())
            .expect("written");
        Notebook::read(&path).expect("a notebook")
    }

    fn given(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn values_are_written_as_the_literals_that_they_replace() {
        for (name, value, expected) in [
            ("epochs", "3", "let mut epochs: usize = 3;"),
            ("rate", "1", "let rate = 1.0;"),
            ("rate", "-2.5e-3", "let rate = -0.0025;"),
            ("shift", "7", "let shift: i8 = 7;"),
            ("name", "a \"b\"\\", r#"let name = String::from("a \"b\"\\");"#),
            ("label", "Ü", "let label: &str = \"Ü\";"),
            ("owned", "b", "let owned: String = \"b\".to_owned();"),
            ("seeds", "[3, 4,5]", "let seeds: Vec<u64> = vec![3, 4, 5];"),
            ("genes", "\"C\", D", "let genes = [\"C\", \"D\"];"),
            ("quick", "False", "let quick = false;"),
            ("mark", "'", r"let mark = '\'';"),
            ("big", "5_000_000_000", "let big = 5000000000u64;"),
        ] {
            let mut notebook = notebook(CELL);
            inject(&mut notebook, &given(&[(name, value)])).expect(expected);
            let injected = notebook.code().nth(2).expect("it follows its cell");
            assert_eq!(injected.source(), format!("// Parameters\n{expected}"));
            assert!(injected.has_tag("injected-parameters"));
            assert_eq!(injected.json()["id"], "injected-parameters-2");
            syn::parse_str::<Stmt>(expected).expect("Rust");
        }
    }

    #[test]
    fn the_last_of_a_name_counts_and_a_second_injection_replaces_the_first() {
        let mut notebook = notebook(CELL);
        inject(&mut notebook, &given(&[("rate", "5")])).expect("injected");
        inject(&mut notebook, &given(&[("epochs", "1"), ("quick", "true"), ("epochs", "2")])).expect("injected");
        let sources: Vec<String> = notebook.code().map(|cell| cell.source()).collect();
        assert_eq!(sources.len(), 4);
        assert_eq!(sources[2], "// Parameters\nlet quick = true;\nlet mut epochs: usize = 2;");
    }

    #[test]
    fn what_cannot_be_set_is_said() {
        for (name, value, words) in [
            ("epoch", "3", "has no `let epoch`; it defines epochs, rate, shift"),
            ("epochs", "-3", "-3 is too large or too small for usize"),
            ("epochs", "few", "-p epochs few: a whole number is expected"),
            ("shift", "200", "too small for i8"),
            ("rate", "inf", "a finite number"),
            ("quick", "yes", "true or false"),
            ("mark", "ab", "one character"),
            ("seeds", "1,x", "a whole number"),
            ("data", "1", "its default `load()` is no number"),
        ] {
            let error = inject(&mut notebook(CELL), &given(&[(name, value)])).expect_err(words);
            let error = format!("{error:#}");
            assert!(error.contains(words), "{error}");
        }
        let mut untagged = notebook(CELL);
        untagged.remove_tagged("parameters");
        let error = inject(&mut untagged, &given(&[("rate", "1")])).expect_err("no cell").to_string();
        assert!(error.contains("no code cell is tagged 'parameters'"), "{error}");
        let error = inject(&mut notebook("let a = "), &given(&[("a", "1")])).expect_err("no Rust").to_string();
        assert!(error.contains("not valid Rust"), "{error}");
    }
}
