"""The one place that knows PDF libraries: markup and pictures in, the bytes of a PDF out.

WeasyPrint shapes every script and tags what it writes, but needs Pango, a library of the system. Where that is missing,
xhtml2pdf, which is all Python, makes English reports. Neither ever opens a file or a connection for a document: what
it may show is handed over with it, and anything else that it asks for ends the work with an error.
"""

from __future__ import annotations

import base64
import html as html_text
import logging
import re
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from io import BytesIO
from typing import Any, Protocol

import pydyf  # type: ignore[import-untyped]
from PIL import ImageFile

from accounts.errors import Code, SentinelError
from reports import typefaces

logger = logging.getLogger(__name__)

# How markup names what is handed over with it: <img src="part:curve.svg">.
PART = "part:"
WEIGHTS = {400: "normal", 700: "bold"}
# WeasyPrint breaks a line that just fits after its first word if a blank follows that is not shown at all.
HANGING_BLANKS = re.compile(r"\s+(</(?:p|li|h[1-4]|td|th|dt|dd|div)>)")
# PDF/UA-1's mark (ISO 14289-1, clause 5), with the description of its schema that PDF/A (ISO 19005-3, 6.6.2.3) wants.
PDF_UA_MARK = b"""\
<rdf:Description rdf:about="" xmlns:pdfuaid="http://www.aiim.org/pdfua/ns/id/" pdfuaid:part="1"/>
<rdf:Description rdf:about="" xmlns:pdfaExtension="http://www.aiim.org/pdfa/ns/extension/"
 xmlns:pdfaSchema="http://www.aiim.org/pdfa/ns/schema#" xmlns:pdfaProperty="http://www.aiim.org/pdfa/ns/property#">
 <pdfaExtension:schemas><rdf:Bag><rdf:li rdf:parseType="Resource">
  <pdfaSchema:schema>PDF/UA identification schema</pdfaSchema:schema>
  <pdfaSchema:namespaceURI>http://www.aiim.org/pdfua/ns/id/</pdfaSchema:namespaceURI>
  <pdfaSchema:prefix>pdfuaid</pdfaSchema:prefix>
  <pdfaSchema:property><rdf:Seq><rdf:li rdf:parseType="Resource">
   <pdfaProperty:name>part</pdfaProperty:name>
   <pdfaProperty:valueType>Integer</pdfaProperty:valueType>
   <pdfaProperty:category>internal</pdfaProperty:category>
   <pdfaProperty:description>Part of ISO 14289 that the document conforms to</pdfaProperty:description>
  </rdf:li></rdf:Seq></pdfaSchema:property>
 </rdf:li></rdf:Bag></pdfaExtension:schemas>
</rdf:Description>
"""
# Neither library promises to be safe in several threads at once, and memory for one report at a time is enough.
_RENDERING = threading.Lock()


@dataclass(frozen=True, slots=True)
class Part:
    """A picture of a document. ``content_type`` is one of image/jpeg, image/png, image/svg+xml."""

    content: bytes
    content_type: str


@dataclass(frozen=True, slots=True)
class Attachment:
    """A PDF that goes with a document as another version of all of it. ``name`` is that of its file."""

    name: str
    content: bytes
    description: str


class PdfError(Exception):
    """The document could not be made: it asks for what was not handed over, or the library gave up on it."""


class Engine(Protocol):
    """A PDF library.

    ``stylesheet`` is the template of its style sheet, ``page_number`` and ``page_count`` its markup for "page x of y".
    ``scripts`` are the fonts it can set right, in order.
    """

    name: str
    stylesheet: str
    page_number: str
    page_count: str
    scripts: tuple[str, ...]

    def render(self, markup: str, parts: Mapping[str, Part], attachments: Sequence[Attachment] = ()) -> bytes:
        """The PDF of a whole HTML document whose pictures are `parts`. Raises PdfError."""

    def require_language(self, language: str) -> None:
        """Raises ``language_unavailable`` for a language whose script it would set wrongly."""


@cache
def get_engine() -> Engine:
    """The best engine that this machine has, found out once."""
    try:
        return WeasyPrint()
    except OSError as error:
        logger.warning(
            "WeasyPrint can't load its system libraries, so reports are made with xhtml2pdf, in English only. "
            "On Debian: apt-get install libpango-1.0-0 libpangoft2-1.0-0 (%s)",
            str(error).partition("\n")[0],
        )
        return Xhtml2Pdf()


class WeasyPrint:
    """PDF/A-3a and PDF/UA-1 in one, in every script that there are fonts for. Raises OSError without Pango."""

    name = "weasyprint"
    stylesheet = "reports/pdf/weasyprint.css"
    page_number = '<span class="page-number"></span>'
    page_count = '<span class="page-count"></span>'
    scripts = typefaces.EVERY_SCRIPT

    def __init__(self) -> None:
        import weasyprint
        from weasyprint.text.fonts import FontConfiguration

        from reports import syllables

        # Importing it has Pillow fill up broken pictures for the whole process. Here such a photo is refused at the
        # door, not examined by halves.
        ImageFile.LOAD_TRUNCATED_IMAGES = False
        self._library: Any = weasyprint
        self._syllables = syllables
        # Reading a font takes longer than laying out a page, so each is read once, when it is needed.
        self._font_configuration = FontConfiguration()
        self._fonts: dict[str, Any] = {}

    def render(self, markup: str, parts: Mapping[str, Part], attachments: Sequence[Attachment] = ()) -> bytes:
        fetcher = _only(parts)
        with _RENDERING:
            # With a base, a relative address is asked for too, and refused.
            document = self._library.HTML(
                string=HANGING_BLANKS.sub(r"\1", markup), url_fetcher=fetcher, base_url="relative://"
            )
            stylesheets = [self._font_of(script) for script in typefaces.scripts_in(markup, self.scripts)]
            try:
                with self._syllables.whole_syllables():
                    pdf: bytes = document.write_pdf(
                        stylesheets=stylesheets,
                        font_config=self._font_configuration,
                        presentational_hints=True,
                        pdf_variant="pdf/a-3a",
                        attachments=[self._attach(attachment) for attachment in attachments],
                        finisher=_complete,
                    )
            except self._syllables.UnwritableTextError as error:
                raise PdfError(str(error)) from error
        if fetcher.refused:
            raise PdfError(f"not handed over: {fetcher.refused}")
        return pdf

    def require_language(self, language: str) -> None:
        """It sets all of them."""

    def _attach(self, attachment: Attachment) -> Any:
        return self._library.Attachment(
            file_obj=BytesIO(attachment.content),
            name=attachment.name,
            description=attachment.description,
            relationship="Alternative",
        )

    def _font_of(self, script: str) -> Any:
        if script not in self._fonts:
            files = {
                f"{script}-{weight}.woff2": Part(typefaces.file_of(script, weight).read_bytes(), "font/woff2")
                for weight in typefaces.WEIGHTS
            }
            self._fonts[script] = self._library.CSS(
                string=_font_faces((script,), lambda script, weight: f"{PART}{script}-{weight}.woff2"),
                url_fetcher=_only(files),
                font_config=self._font_configuration,
            )
        return self._fonts[script]


class Xhtml2Pdf:
    """Untagged PDF in Latin letters: it would place the vowel signs of Indian scripts wrongly."""

    name = "xhtml2pdf"
    stylesheet = "reports/pdf/xhtml2pdf.css"
    page_number = "<pdf:pagenumber>"
    page_count = "<pdf:pagecount>"
    # It takes each letter from the first font that a style names, so there is but one.
    scripts = typefaces.LATIN[:1]

    def render(self, markup: str, parts: Mapping[str, Part], attachments: Sequence[Attachment] = ()) -> bytes:
        from xhtml2pdf import pisa
        from xhtml2pdf.config.resources import ResourceAccessPolicy

        if attachments:
            raise PdfError("xhtml2pdf attaches nothing")

        def source(match: re.Match[str]) -> str:
            address = html_text.unescape(match[1])
            part = parts.get(address.removeprefix(PART)) if address.startswith(PART) else None
            if part is None:
                raise PdfError(f"not handed over: {match[1]}")
            return f'src="data:{part.content_type};base64,{base64.b64encode(part.content).decode()}"'

        markup = re.sub(r'\bsrc="([^"]*)"', source, markup)
        faces = _font_faces(self.scripts, lambda script, weight: str(typefaces.file_of(script, weight)))
        markup = markup.replace("<style>", f"<style>{faces}", 1)
        target = BytesIO()
        refuse_all = ResourceAccessPolicy.server(typefaces.FOLDER, allow_remote=False, max_render_seconds=120)
        with _RENDERING:
            done = pisa.CreatePDF(markup, dest=target, encoding="utf-8", resource_policy=refuse_all)
        if done.err:
            raise PdfError(f"{done.err} errors: {done.log[:3]}")
        return target.getvalue()

    def require_language(self, language: str) -> None:
        if language.partition("-")[0] != "en":
            raise SentinelError(Code.LANGUAGE_UNAVAILABLE)


def _complete(_document: Any, pdf: Any) -> None:
    """Say in the metadata that this is PDF/UA too: of variants, WeasyPrint names one alone."""
    (metadata,) = (
        entry for entry in pdf.objects if isinstance(entry, pydyf.Stream) and entry.extra.get("Type") == "/Metadata"
    )
    (xml,) = metadata.stream
    metadata.stream = [xml.replace(b"</rdf:RDF>", PDF_UA_MARK + b"</rdf:RDF>")]
    if "AF" in pdf.catalog:
        # It lists what is attached twice.
        pdf.catalog["AF"] = pydyf.Array(dict.fromkeys(pdf.catalog["AF"]))


def _font_faces(scripts: tuple[str, ...], address_of: Callable[[str, int], str]) -> str:
    """Style rules that declare the fonts, each at the address that `address_of` its script and weight gives."""
    return "\n".join(
        f'@font-face {{ font-family: "{typefaces.family_of(script)}"; font-weight: {WEIGHTS[weight]}; '
        f'src: url("{address_of(script, weight)}"); }}'
        for script in scripts
        for weight in typefaces.WEIGHTS
    )


def _only(parts: Mapping[str, Part]) -> Any:
    """WeasyPrint's way to what a document shows: out of `parts`, and nowhere else."""
    from weasyprint.urls import URLFetcher, URLFetcherResponse

    class OnlyParts(URLFetcher):  # type: ignore[misc, unused-ignore]
        """Notes in ``refused`` what else was asked for: WeasyPrint itself would go on without it."""

        def __init__(self) -> None:
            super().__init__(allowed_protocols=())
            self.refused: list[str] = []

        def fetch(self, url: str, headers: Any = None) -> Any:
            part = parts.get(url.removeprefix(PART)) if url.startswith(PART) else None
            if part is None:
                self.refused.append(url)
                raise ValueError(f"not handed over: {url}")
            return URLFetcherResponse(url, part.content, {"Content-Type": part.content_type})

    return OnlyParts()
