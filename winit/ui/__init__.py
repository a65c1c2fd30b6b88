"""The pages' shell: the only package that imports streamlit."""
