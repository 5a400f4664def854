"""What the operators of a site decide: how jobs are asked for, which models run, and how large."""

from compute_functions.site_config.keeper_settings import KeeperSettings
from compute_functions.site_config.policy import JobSettings, Limits, ModelPolicy
from compute_functions.site_config.provider_block import ProviderBlock
from compute_functions.site_config.resolution import Refusal, Resolution
from compute_functions.site_config.site_file import Scheduler, SiteConfig, load
from compute_functions.site_config.site_models import SiteModels

__all__ = [
    "JobSettings",
    "KeeperSettings",
    "Limits",
    "ModelPolicy",
    "ProviderBlock",
    "Refusal",
    "Resolution",
    "Scheduler",
    "SiteConfig",
    "SiteModels",
    "load",
]
