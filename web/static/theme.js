// Runs before the first paint, so that a chosen theme never flashes: therefore no module.
try {
  const theme = localStorage.getItem("theme");
  if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
} catch { /* storage is forbidden: the system's preference it is */ }
