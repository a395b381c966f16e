"""Weights in few bits: round to nearest, GPTQ, AWQ and Atom for Llama-type models."""

from serving.quantization.model import quantize_model
from serving.quantization.report import LayerReport, Report
from serving.quantization.settings import CALIBRATED, METHODS, Method, QuantizeSettings

__all__ = [
    "CALIBRATED",
    "METHODS",
    "LayerReport",
    "Method",
    "QuantizeSettings",
    "Report",
    "quantize_model",
]
