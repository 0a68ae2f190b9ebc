"""What may be accepted without a look, with a promise that was earned by looking."""

from micro_models.certificates.certify import certify, spent
from micro_models.certificates.groups import certify_groups
from micro_models.certificates.monitor import Monitor
from micro_models.certificates.nouns import Audit, Certificate
from micro_models.certificates.right import is_right
from micro_models.certificates.risk import least_audits

__all__ = [
    "Audit",
    "Certificate",
    "Monitor",
    "certify",
    "certify_groups",
    "is_right",
    "least_audits",
    "spent",
]
