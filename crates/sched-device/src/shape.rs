//! What a pod asks for, and the names of device models.

/// Greatest number of models that one pool tells apart: a set of them is one machine word.
pub const MODELS_MAX: usize = 64;

/// Whole of one device, in thousandths.
pub const WHOLE: u16 = 1000;

/// A device model, as numbered by [`ModelNames`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Model(pub(crate) u8);

/// A set of device models as somebody spelled it; the empty set admits every model.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Models {
    set: u64,
    /// Which text it was: the published mix tells spellings of one set apart.
    spelling: u16,
}

impl Models {
    /// Admits every model.
    pub const ANY: Models = Models { set: 0, spelling: 0 };

    /// Whether devices of this model will do; a node without a model fits only who takes any.
    pub fn admit(self, model: Option<Model>) -> bool {
        self.set == 0 || model.is_some_and(|m| self.set & 1 << m.0 != 0)
    }
}

/// Too many different device models, or sets of them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "device model {0:?} is one too many: at most {MODELS_MAX} models and {SPELLINGS_MAX} sets are told apart"
)]
pub struct TooManyModels(pub String);

/// Greatest number of sets of models that one pool tells apart.
pub const SPELLINGS_MAX: usize = 1 << 16;

/// Numbers device models, and sets of them, in the order in which they are met.
#[derive(Clone, Debug)]
pub struct ModelNames {
    names: Vec<String>,
    spellings: Vec<String>,
}

impl Default for ModelNames {
    fn default() -> ModelNames {
        ModelNames { names: Vec::new(), spellings: vec![String::new()] }
    }
}

impl ModelNames {
    /// The model of a name; nothing for the empty name.
    ///
    /// # Errors
    /// When [`MODELS_MAX`] other names are known already.
    pub fn model(&mut self, name: &str) -> Result<Option<Model>, TooManyModels> {
        if name.is_empty() {
            return Ok(None);
        }
        let at = match self.names.iter().position(|n| n == name) {
            Some(at) => at,
            None if self.names.len() == MODELS_MAX => return Err(TooManyModels(name.to_owned())),
            None => {
                self.names.push(name.to_owned());
                self.names.len() - 1
            }
        };
        Ok(Some(Model(u8::try_from(at).expect("MODELS_MAX fits a byte"))))
    }

    /// The set a text `A|B` stands for; the empty text admits every model.
    ///
    /// # Errors
    /// When too many models, or too many sets, are known already.
    pub fn models(&mut self, text: &str) -> Result<Models, TooManyModels> {
        let mut set = 0;
        for name in text.split('|').map(str::trim) {
            if let Some(model) = self.model(name)? {
                set |= 1 << model.0;
            }
        }
        let spelling = match self.spellings.iter().position(|s| s == text) {
            Some(at) => at,
            None => {
                self.spellings.push(text.to_owned());
                self.spellings.len() - 1
            }
        };
        let spelling = u16::try_from(spelling).map_err(|_| TooManyModels(text.to_owned()))?;
        Ok(Models { set, spelling })
    }

    /// The text of a set; empty for sets of other names.
    pub fn spelled(&self, models: Models) -> &str {
        self.spellings.get(usize::from(models.spelling)).map_or("", String::as_str)
    }

    /// The name of a model; empty for models of other names.
    pub fn name(&self, model: Model) -> &str {
        self.names.get(usize::from(model.0)).map_or("", String::as_str)
    }
}

/// What one pod asks of a node. Pods of one shape are interchangeable here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Shape {
    /// CPU in thousandths of a core.
    pub cpu_milli: i64,
    /// Memory in MiB.
    pub memory_mib: i64,
    /// Number of devices; 0 for pods that need none.
    pub devices: u8,
    /// Thousandths of each of these devices, 1..=1000; 0 for pods that need none.
    pub milli: u16,
    /// Models that will do.
    pub models: Models,
}

/// How a pod uses devices: pods of one kind leave room for their like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// No device.
    Plain,
    /// A part of one device.
    Share,
    /// This many devices.
    Devices(u8),
}

impl Shape {
    /// Thousandths of devices over all devices it asks for.
    pub fn milli_total(&self) -> i64 {
        i64::from(self.devices) * i64::from(self.milli)
    }

    /// How it uses devices.
    pub fn kind(&self) -> Kind {
        match (self.devices, self.milli) {
            (0, _) | (_, 0) => Kind::Plain,
            (1, milli) if milli < WHOLE => Kind::Share,
            (n, _) => Kind::Devices(n),
        }
    }

    /// The same without memory: what typical shapes are told apart by.
    pub fn class(&self) -> Shape {
        Shape { memory_mib: 0, ..*self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_of_models_admits_its_members_and_the_empty_one_all() {
        let mut names = ModelNames::default();
        let set = names.models("T4|P100").unwrap();
        let (t4, v100) = (names.model("T4").unwrap(), names.model("V100").unwrap());
        assert!(set.admit(t4) && !set.admit(v100) && !set.admit(None));
        assert!(Models::ANY.admit(None) && Models::ANY.admit(v100));
        assert_eq!(names.models("").unwrap(), Models::ANY);
    }

    #[test]
    fn one_model_too_many_is_refused_by_name() {
        let mut names = ModelNames::default();
        for i in 0..MODELS_MAX {
            names.model(&i.to_string()).unwrap();
        }
        assert_eq!(names.model("x"), Err(TooManyModels("x".to_owned())));
        assert!(names.model("7").is_ok(), "known names go on");
    }

    #[test]
    fn kinds_follow_from_devices_and_parts() {
        let kind = |devices, milli| Shape { devices, milli, ..Shape::default() }.kind();
        assert_eq!(
            [kind(0, 0), kind(1, 300), kind(1, 1000), kind(4, 1000)],
            [Kind::Plain, Kind::Share, Kind::Devices(1), Kind::Devices(4)]
        );
    }
}
