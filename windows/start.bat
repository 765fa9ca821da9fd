@echo off
rem Sets up a private Python environment if needed, checks what the daemon needs,
rem and runs it in the foreground. Ctrl-C releases everything.
rem
rem   windows\start.bat                    run with config\optimizer.env or config\.env, else defaults
rem   windows\start.bat --set KEY=VALUE    arguments go to "optimizer run"
setlocal
cd /d "%~dp0.."
set "VENV=%CD%\.venv"

set "PY="
for %%V in (3.13 3.12 3.11) do if not defined PY (py -%%V -c "" >nul 2>&1 && set "PY=py -%%V")
if not defined PY (python -c "import sys; sys.exit(sys.version_info < (3, 11))" >nul 2>&1 && set "PY=python")
if not defined PY (
  echo start.bat: needs Python 3.11 or newer
  echo   remedy: install it from python.org for all users, then start again
  exit /b 1
)
echo Python        ok: %PY%

net session >nul 2>&1
if errorlevel 1 (echo Privilege     ok: plain user) else (echo Privilege     ok: administrator)

if not exist "%VENV%\installed" (
  echo Dependencies  setting up %VENV% ...
  %PY% -m venv --clear "%VENV%" || (
    echo start.bat: cannot make an environment in %VENV%
    echo   remedy: see that the folder is writable
    exit /b 1
  )
  "%VENV%\Scripts\python.exe" -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock || (
    echo start.bat: cannot install the dependencies of requirements.lock
    echo   remedy: see the message above; a host without network needs a package mirror
    exit /b 1
  )
  "%VENV%\Scripts\python.exe" -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e . || exit /b 1
  echo installed> "%VENV%\installed"
)
echo Dependencies  ok: %VENV%

if not defined CONFIG_DIR if exist config\optimizer.env set "CONFIG_DIR=%CD%\config"
if not defined CONFIG_DIR if exist config\.env set "CONFIG_DIR=%CD%\config"
"%VENV%\Scripts\optimizer.exe" check-config %* >nul
if errorlevel 1 (
  echo   remedy: mend these keys; config\optimizer.env.example explains each
  exit /b 78
)
echo Configuration ok
"%VENV%\Scripts\optimizer.exe" run %*
exit /b %errorlevel%
