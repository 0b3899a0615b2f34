// Applies the chosen theme before the first paint; a module would run too late and flash.
try {
  const theme = localStorage.getItem("switchboard.theme");
  if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
} catch {
  // Storage is switched off: the system's theme it is.
}
