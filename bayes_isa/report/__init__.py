"""The report: one HTML file that a clinical team can read without this package, or a network.

write        `write_report`: what is computed, in which order
document     what a report is made of: sections, tables, figures
images       figures as inline SVG, or PNG where that would be large
words        numbers and verdicts in plain words
data_part, model_part, checks_part, regimens_part    the sections
templates    the page
"""
