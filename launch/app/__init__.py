"""The page of scripts/app.py. `page` puts the tabs together; `lessons`, `trainings`, `uploads`, `words` and `studio` do
the work and know nothing of Gradio."""
