//! Takes components in: checks signatures and bytes, describes, plans, asks for consent, records, activates, all of it at once or nothing.
//!
//! What a function is called and how often it may run is decided here and in [`frequency`]; running `describe` is the executor's
//! work, versions and activation are the store's.

mod allow;
mod canary;
mod capability;
pub mod cron;
mod deployed;
mod error;
pub mod frequency;
mod manifest;
mod plan;
mod signature;

use std::collections::{BTreeMap, BTreeSet};

use sha2::{Digest, Sha256};

use crate::clock::{Clock, Entropy};
use crate::connections::Connections;
use crate::engine::{check, hex, imported_functions};
use crate::executor::Executor;
use crate::model::{CanaryState, DeployKey, DeploymentId, EnvironmentId, Function, Integration, Manifest};
use crate::store::{NewDeployment, Store, StoreError};

pub use allow::Allow;
pub use canary::{CanaryError, CanaryOptions, Verdict, judge};
pub use capability::{Capability, CapabilityError, sentences};
pub use deployed::Deployed;
pub use error::DeployError;
pub use plan::{Change, FunctionPlan, IntegrationPlan, Plan};
pub use signature::{SignatureError, sign};

/// Components of one deploy.
pub const COMPONENTS_MAX: usize = 64;

/// Deploys components. Cheap to clone.
#[derive(Clone)]
pub struct Deploy {
    pub executor: Executor,
    pub store: Store,
    pub connections: Connections,
    pub clock: Clock,
    pub entropy: Entropy,
    pub component_bytes_max: usize,
    /// Who may deploy; everybody with an API key for it when there are none.
    pub keys: Vec<DeployKey>,
}

/// A component for an integration.
#[derive(Clone, Copy, Debug)]
pub struct NewComponent<'a> {
    pub provider_config_key: &'a str,
    /// What messages call it, such as its file.
    pub name: Option<&'a str>,
    pub bytes: &'a [u8],
    /// Ed25519, over the bytes.
    pub signature: Option<&'a [u8]>,
}

/// What whoever deploys agrees to.
#[derive(Clone, Debug, Default)]
pub struct Consent {
    /// Capabilities that functions which are there may gain.
    pub allow: Allow,
    /// Losses: see [`Plan::losses`].
    pub destructive: bool,
    /// Functions of the same integrations that are in none of the components are removed.
    pub prune: bool,
    /// Some connections try it before it is active for all.
    pub canary: Option<CanaryOptions>,
}

/// A component that passed all checks.
struct Checked<'a> {
    integration: Integration,
    bytes: &'a [u8],
    digest: String,
    manifest: Manifest,
    imports: Vec<String>,
    /// What it imports of them; none when it says nothing of itself.
    imported: Option<BTreeSet<String>>,
}

/// A plan, and what was there when it was made.
struct Planned {
    plan: Plan,
    /// Active digests by function, for each integration of the plan.
    seen: Vec<(Integration, BTreeMap<String, String>)>,
}

impl Deploy {
    /// What [`Deploy::deploy`] would do; changes nothing. What is not consented to is no error: the plan names it.
    ///
    /// # Errors
    ///
    /// When there is no such integration, a component or what it says of itself is refused, or there cannot be the canary that is wanted.
    pub async fn plan(
        &self,
        environment_id: &EnvironmentId,
        components: &[NewComponent<'_>],
        consent: &Consent,
    ) -> Result<Plan, DeployError> {
        let checked = self.check_all(environment_id, components).await?;
        let Planned { plan, seen } = self.planned(environment_id, &checked, consent).await?;
        if consent.canary.is_some() {
            self.check_canary(&plan, &seen, consent).await?;
        }
        Ok(plan)
    }

    /// Checks the components, records a version of each of their functions and makes it active, all at once. A function whose active
    /// version is of the same component stays as it is.
    ///
    /// # Errors
    ///
    /// When there is no such integration, a component or what it says of itself is refused, or what it would gain or what would be lost
    /// is not consented to. Then nothing is changed.
    pub async fn deploy(
        &self,
        environment_id: &EnvironmentId,
        components: &[NewComponent<'_>],
        consent: &Consent,
    ) -> Result<Vec<Deployed>, DeployError> {
        let checked = self.check_all(environment_id, components).await?;
        let Planned { plan, seen } = self.planned(environment_id, &checked, consent).await?;
        consent.covers(&plan)?;
        self.check_canary(&plan, &seen, consent).await?;
        let now_ms = self.clock.now_ms();
        let deployments: Vec<NewDeployment<'_>> = checked
            .iter()
            .map(|component| NewDeployment {
                id: DeploymentId::new(now_ms, self.entropy.bytes()),
                environment_id: environment_id.clone(),
                integration_id: component.integration.id.clone(),
                provider_config_key: &component.integration.unique_key,
                digest: &component.digest,
                component: component.bytes,
                functions: &component.manifest.functions,
                canary: consent.canary.map(|canary| canary.begun_at(now_ms)),
                now_ms,
            })
            .collect();
        let removed = removed(&plan, &seen);
        let seen: Vec<_> = seen
            .iter()
            .map(|(integration, active)| (&integration.id, active))
            .collect();
        let functions = self.store.insert_deployments(&deployments, &seen, &removed).await?;
        let functions = functions.ok_or(DeployError::Concurrent)?;
        let deployed = checked.into_iter().zip(functions).map(|(component, functions)| {
            let provider_config_key = component.integration.unique_key;
            let is_changed = |function: &&Function| plan.changes(&provider_config_key, &function.name);
            let deployed = Deployed {
                changed: functions.iter().filter(is_changed).count(),
                digest: component.digest,
                functions,
                imports: component.imports,
                capabilities: Capability::of(component.imported.as_ref(), &component.manifest.functions),
                provider_config_key,
            };
            let key = &deployed.provider_config_key;
            tracing::info!(digest = deployed.digest, integration = key, "{key}: {deployed}");
            deployed
        });
        Ok(deployed.collect())
    }

    /// What a component says of itself, if that could be deployed.
    ///
    /// # Errors
    ///
    /// When the component or what it says of itself is refused.
    pub async fn describe(&self, component: &[u8]) -> Result<Manifest, DeployError> {
        let described = self.executor.describe(component).await?;
        manifest::check(&described)?;
        Ok(described)
    }

    /// Whether a component comes from somebody who may have it run here, deployed or not.
    ///
    /// # Errors
    ///
    /// When nobody who may has signed it.
    pub fn check_signature(&self, component: &[u8], signature: Option<&[u8]>) -> Result<(), DeployError> {
        Ok(signature::check(&self.keys, component, signature)?)
    }

    /// The same for running it without deploying it: it must be signed, and what has to be given must be allowed all the same.
    ///
    /// # Errors
    ///
    /// As [`Deploy::describe`], and when something that has to be given is not allowed.
    pub async fn describe_undeployed(
        &self,
        component: &[u8],
        signature: Option<&[u8]>,
        allow: &Allow,
    ) -> Result<Manifest, DeployError> {
        self.check_signature(component, signature)?;
        let described = self.describe(component).await?;
        let able = Capability::of(imported_functions(component).as_ref(), &described.functions);
        allow.covers(able.into_iter().filter(Capability::is_granted))?;
        Ok(described)
    }

    async fn check_all<'a>(
        &self,
        environment_id: &EnvironmentId,
        components: &[NewComponent<'a>],
    ) -> Result<Vec<Checked<'a>>, DeployError> {
        if components.len() > COMPONENTS_MAX {
            return Err(DeployError::TooMany {
                components: components.len(),
            });
        }
        let mut all = Vec::with_capacity(components.len());
        let mut names = BTreeSet::new();
        for (index, component) in components.iter().enumerate() {
            let checked = self.check(environment_id, component).await;
            let checked = checked.and_then(|checked| {
                let key = &checked.integration.unique_key;
                let mut functions = checked.manifest.functions.iter();
                match functions.find(|function| !names.insert((key.clone(), function.name.clone()))) {
                    Some(function) => Err(DeployError::Manifest {
                        function: format!("{:?}", function.name),
                        message: format!("two components for {key:?} have it"),
                    }),
                    None => Ok(checked),
                }
            });
            all.push(checked.map_err(|error| error.of(component, index, components.len()))?);
        }
        Ok(all)
    }

    async fn check<'a>(
        &self,
        environment_id: &EnvironmentId,
        component: &NewComponent<'a>,
    ) -> Result<Checked<'a>, DeployError> {
        let integration = self
            .connections
            .integration(environment_id, component.provider_config_key)
            .await?;
        self.check_signature(component.bytes, component.signature)?;
        let surface = check(component.bytes, self.component_bytes_max)?;
        let manifest = self.describe(component.bytes).await?;
        Ok(Checked {
            integration: (*integration).clone(),
            bytes: component.bytes,
            digest: hex(&Sha256::digest(component.bytes)),
            manifest,
            imports: surface.imports,
            imported: imported_functions(component.bytes),
        })
    }

    async fn planned(
        &self,
        environment_id: &EnvironmentId,
        checked: &[Checked<'_>],
        consent: &Consent,
    ) -> Result<Planned, DeployError> {
        let mut by_integration: BTreeMap<&str, Vec<&Checked<'_>>> = BTreeMap::new();
        for component in checked {
            let key = component.integration.unique_key.as_str();
            by_integration.entry(key).or_default().push(component);
        }
        let mut planned = Planned {
            plan: Plan {
                integrations: Vec::new(),
                canary: consent.canary,
            },
            seen: Vec::new(),
        };
        for (key, components) in by_integration {
            let active = self.store.functions(environment_id, Some(key)).await?;
            let imported = self.imported(&active, &components).await?;
            let wanted: Vec<plan::Wanted<'_>> = components
                .iter()
                .map(|component| plan::Wanted {
                    digest: &component.digest,
                    functions: &component.manifest.functions,
                    imported: component.imported.as_ref(),
                })
                .collect();
            planned
                .plan
                .integrations
                .push(plan::plan(key, &wanted, &active, &imported, consent.prune));
            let seen = active.into_iter().map(|function| (function.name, function.digest));
            if let Some(component) = components.first() {
                planned.seen.push((component.integration.clone(), seen.collect()));
            }
        }
        Ok(planned)
    }

    /// No two at once, and none of what some connections could not go without.
    async fn check_canary(
        &self,
        plan: &Plan,
        seen: &[(Integration, BTreeMap<String, String>)],
        consent: &Consent,
    ) -> Result<(), DeployError> {
        for (integration, _) in seen {
            let last = self.store.canary(&integration.id).await?;
            if last.is_some_and(|canary| canary.state == CanaryState::Running) {
                let provider_config_key = integration.unique_key.clone();
                return Err(CanaryError::Running { provider_config_key }.into());
            }
        }
        if consent.canary.is_some() {
            canary::check(plan, consent.prune)?;
        }
        Ok(())
    }

    /// What the components that would be replaced import, by digest.
    async fn imported(
        &self,
        active: &[Function],
        components: &[&Checked<'_>],
    ) -> Result<BTreeMap<String, Option<BTreeSet<String>>>, StoreError> {
        let mut imported = BTreeMap::new();
        for component in components {
            for manifest in &component.manifest.functions {
                let before = active.iter().find(|function| function.name == manifest.name);
                let Some(digest) = before.map(|before| &before.digest) else {
                    continue;
                };
                if *digest == component.digest || imported.contains_key(digest) {
                    continue;
                }
                if let Some(bytes) = self.store.component(digest).await? {
                    imported.insert(digest.clone(), imported_functions(&bytes));
                }
            }
        }
        Ok(imported)
    }
}

impl Consent {
    fn covers(&self, plan: &Plan) -> Result<(), DeployError> {
        self.allow.covers(plan.gained().into_iter())?;
        let losses = plan.losses();
        if !losses.is_empty() && !self.destructive {
            return Err(DeployError::Destructive { losses });
        }
        Ok(())
    }
}

fn removed<'a>(
    plan: &'a Plan,
    seen: &'a [(Integration, BTreeMap<String, String>)],
) -> Vec<(&'a crate::model::IntegrationId, &'a str)> {
    let mut removed = Vec::new();
    for (integration, (seen, _)) in plan.integrations.iter().zip(seen) {
        let gone = integration.functions.iter().filter(|it| it.change == Change::Remove);
        removed.extend(gone.map(|function| (&seen.id, function.name.as_str())));
    }
    removed
}
