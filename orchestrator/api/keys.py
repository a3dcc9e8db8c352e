"""The parts that handlers reach through the application, as typed keys."""

from aiohttp import web

from orchestrator.api.admission import Admission
from orchestrator.comfy.pool import Pool
from orchestrator.images.encode import OutputFormat
from orchestrator.images.links import LinkSigner
from orchestrator.images.store import ImageStore
from orchestrator.jobs.board import Board
from orchestrator.models.outlet import Outlet
from orchestrator.pipeline import Pipeline

ADMISSION = web.AppKey("admission", Admission)
PIPELINE = web.AppKey("pipeline", Pipeline)
POOL = web.AppKey("pool", Pool)
STORE = web.AppKey("store", ImageStore)
SIGNER = web.AppKey("signer", LinkSigner)
OUTLET = web.AppKey("outlet", Outlet)
MODEL_SIGNER = web.AppKey("model_signer", LinkSigner)
BOARD = web.AppKey("board", Board)
OUTPUT_FORMAT: web.AppKey[OutputFormat] = web.AppKey("output_format")
