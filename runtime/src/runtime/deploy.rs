//! Deploying, with what is known of functions forgotten in time.

use super::Runtime;
use crate::deploy::{Consent, DeployError, Deployed, NewComponent, Plan};
use crate::model::EnvironmentId;

impl Runtime {
    /// Checks components, records a version of each of their functions and makes it active, all at once. What is refused changes
    /// nothing.
    ///
    /// # Errors
    /// [`DeployError`]: what is wrong with a component, or what is not consented to.
    pub async fn deploy(
        &self,
        environment: &EnvironmentId,
        components: &[NewComponent<'_>],
        consent: &Consent,
    ) -> Result<Vec<Deployed>, DeployError> {
        let started = self.started();
        let deployed = self.0.deploy.deploy(environment, components, consent).await;
        self.log_deploys(environment, components, &started, &deployed);
        let deployed = deployed?;
        self.0.scheduler.wake();
        if consent.prune {
            self.0.functions.forget_all();
        }
        for component in &deployed {
            for function in &component.functions {
                let key = &component.provider_config_key;
                self.0.functions.forget(environment, key, &function.name);
            }
        }
        Ok(deployed)
    }

    /// What [`Runtime::deploy`] would change. What is not consented to is no error: the plan names it.
    ///
    /// # Errors
    /// [`DeployError`]: what is wrong with a component, or why there cannot be the canary that is wanted.
    pub async fn plan_deploy(
        &self,
        environment: &EnvironmentId,
        components: &[NewComponent<'_>],
        consent: &Consent,
    ) -> Result<Plan, DeployError> {
        self.0.deploy.plan(environment, components, consent).await
    }
}
