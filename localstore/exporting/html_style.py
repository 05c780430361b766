"""The style sheet of the exported page, for light and dark mode, all widths, and print."""

STYLE = """
:root {
  color-scheme: light dark;
  --paper: #fdfcfa; --ink: #1f2328; --quiet: #62686f; --line: #e2dfd9; --asked: #eef3f8; --code: #f4f2ee;
  --link: #0b5cad; --good: #1a6e3c; --bad: #b3261e; --wait: #8a5a00;
  --keyword: #8b2f7f; --string: #1a6540; --number: #8a4b00; --name: #0b5394;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #16181b; --ink: #dfe2e6; --quiet: #9aa1a9; --line: #30343a; --asked: #1f2a36; --code: #1f2226;
    --link: #7db4f0; --good: #72c894; --bad: #f2877f; --wait: #e0b15a;
    --keyword: #dca0d6; --string: #8fcf9f; --number: #e3b07a; --name: #8fbdf2;
  }
}
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; scroll-padding-top: 1rem; }
body {
  margin: 0 auto; max-width: 48rem; padding: clamp(1rem, 4vw, 3rem) clamp(.8rem, 4vw, 2rem);
  background: var(--paper); color: var(--ink);
  font: 1rem/1.6 system-ui, -apple-system, "Segoe UI", "Noto Sans", "Helvetica Neue", Arial, sans-serif;
  overflow-wrap: anywhere;
}
h1, h2 { line-height: 1.25; margin: 0 0 .3rem; text-wrap: balance; }
h1 { font-size: clamp(1.5rem, 1.2rem + 1.5vw, 2rem); }
h2 { font-size: 1.4rem; }
a { color: var(--link); text-underline-offset: .15em; }
.facts { color: var(--quiet); font-size: .85rem; margin-block: 0; }
.facts > * + *::before { content: "\\00b7"; margin-inline: .45em; color: var(--quiet); font-weight: normal; }
.facts .good { color: var(--good); } .facts .bad, .failed { color: var(--bad); }
.facts .unfinished, .facts .cancelled, .facts .ended { color: var(--wait); }
.facts .note { font-style: italic; }
.facts .good, .facts .bad, .failed, .unfinished, .cancelled, .ended { font-weight: 600; }
nav { border: 1px solid var(--line); border-radius: .5rem; padding: .8rem 1rem; margin: 1.5rem 0 0; }
nav ol { margin: 0; padding-inline-start: 1.5rem; }
nav small { color: var(--quiet); }
.session { margin-top: 3.5rem; }
.session:first-of-type { margin-top: 2.5rem; }
body.single .session { margin-top: 0; }
.run { margin-top: 1.5rem; padding-top: .9rem; border-top: 1px solid var(--line); }
.run > .facts > a { color: inherit; font-weight: 600; text-decoration-color: var(--line); }
.run > .facts > a:hover, .run > .facts > a:focus-visible { color: var(--link); text-decoration-color: currentColor; }
.run:target > .facts > a { color: var(--link); }
.message { margin-top: .9rem; }
.who { color: var(--quiet); font-size: .8rem; font-weight: 600; margin: 0 0 .15rem; }
.asked { background: var(--asked); border-radius: .6rem; padding: .6rem .9rem .7rem; }
.typed { white-space: pre-wrap; }
.part { margin: .25rem 0 0; }
.said > :first-child { margin-top: 0; } .said > :last-child { margin-bottom: 0; }
.said p, .said ul, .said ol, .said blockquote { margin: .6rem 0; }
.said h4, .said h5, .said h6 { margin: 1.1rem 0 .4rem; font-size: 1.05rem; line-height: 1.3; }
.said h5, .said h6 { font-size: 1rem; }
.said ul, .said ol { padding-inline-start: 1.5rem; }
.said blockquote { margin-inline: 0; padding-inline-start: .9rem; border-inline-start: 3px solid var(--line); }
.said hr { border: 0; border-top: 1px solid var(--line); margin: 1.2rem 0; }
table { display: block; overflow-x: auto; margin: .8rem 0; border-collapse: collapse;
  font-size: .95rem; overflow-wrap: normal; }
th, td { border: 1px solid var(--line); padding: .3rem .6rem; text-align: start; vertical-align: top; }
th.right, td.right { text-align: right; } th.center, td.center { text-align: center; }
code, pre { font: .875em/1.5 ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace; }
code { background: var(--code); border-radius: .25rem; padding: .1em .3em; }
pre { background: var(--code); border-radius: .4rem; padding: .7rem .9rem; margin: .6rem 0; overflow-x: auto;
  white-space: pre-wrap; tab-size: 4; }
pre code { background: none; padding: 0; font-size: 1em; }
code [class^="k"], code .ow { color: var(--keyword); }
code [class^="s"] { color: var(--string); } code [class^="m"] { color: var(--number); }
code .nf, code .nc, code .nt, code .na, code .nd { color: var(--name); }
code [class^="c"] { color: var(--quiet); font-style: italic; }
.bar { display: block; width: 100%; height: 4px; margin-top: .25rem; }
.bar .track { fill: var(--line); } .bar .span { fill: var(--link); }
.part img { max-width: 100%; height: auto; border-radius: .4rem; }
details { margin-top: .6rem; font-size: .9rem; border: 1px solid var(--line); border-radius: .4rem; }
details > :not(summary) { margin-inline: .7rem; }
details > pre { margin-block: .5rem .7rem; }
summary { cursor: pointer; padding: .3rem .7rem; color: var(--quiet); white-space: nowrap; overflow: hidden;
  text-overflow: ellipsis; }
summary:focus-visible { outline: 2px solid var(--link); outline-offset: 1px; border-radius: .4rem; }
summary code { color: var(--ink); }
summary .preview { font-size: .85em; }
.label { color: var(--quiet); font-size: .8rem; margin-block: .4rem 0; }
.label.unanswered { color: var(--wait); margin-block-end: .6rem; }
.nested[open] { padding-bottom: .7rem; } .nested > .run { border: 0; margin-top: 0; padding-top: 0; }
.error { border-inline-start: 3px solid var(--bad); padding: .1rem 0 .1rem .8rem; margin-top: .9rem; }
.error .who { color: var(--bad); }
.error pre { margin: .2rem 0; }
.notice { color: var(--quiet); font-style: italic; margin: .9rem 0 0; }
@media print {
  :root {
    color-scheme: light; --paper: #fff; --ink: #000; --quiet: #555; --line: #bbb; --asked: #f3f5f7; --code: #f6f6f6;
    --link: #000; --good: #1a6e3c; --bad: #b3261e; --wait: #8a5a00;
  }
  @page { margin: 18mm 16mm; }
  body { max-width: none; padding: 0; font-size: 10.5pt; }
  details::details-content { content-visibility: visible; display: block; height: auto; }
  summary { list-style: none; white-space: normal; } summary .preview { display: none; }
  .message, .error, tr, li { break-inside: avoid; }
  .facts, .who, .label, summary, h1, h2, .said h4, .said h5, .said h6 { break-after: avoid; }
  .said a[href^="http"]::after { content: " (" attr(href) ")"; font-size: .85em; color: var(--quiet); }
}
"""
