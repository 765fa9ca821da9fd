@echo off
rem Sets up a private Python environment if needed, checks what the daemon needs,
rem and runs it in the foreground. Ctrl-C releases everything.
rem
rem   windows\start.bat                    run with config\optimizer.env or config\.env, else defaults
rem   windows\start.bat --set KEY=VALUE    arguments go to "optimizer run"
rem   windows\start.bat --install-service  run it for good, as a Windows service (administrator)
rem   windows\start.bat --uninstall-service [--purge]   stop and remove it; the history stays
rem
rem The service's environment is %ProgramFiles%\CloudResourceOptimizer\venv: only administrators
rem may change what it runs, and its account may not read users' folders.
setlocal
cd /d "%~dp0.."
set "VENV=%CD%\.venv"
set "SERVICE="
if "%~1"=="--install-service" set "SERVICE=install"
if "%~1"=="--uninstall-service" set "SERVICE=uninstall"
set "EDITABLE=-e"
if defined SERVICE (
  set "VENV=%ProgramFiles%\CloudResourceOptimizer\venv"
  set "EDITABLE="
)

set "PY="
for %%V in (3.13 3.12 3.11) do if not defined PY (py -%%V -c "" >nul 2>&1 && set "PY=py -%%V")
if not defined PY (python -c "import sys; sys.exit(sys.version_info < (3, 11))" >nul 2>&1 && set "PY=python")
if not defined PY (
  echo start.bat: needs Python 3.11 or newer
  echo   remedy: install it from python.org for all users, then start again
  exit /b 1
)
echo Python        ok: %PY%

%PY% -c "import ctypes, sys; sys.exit(not ctypes.windll.shell32.IsUserAnAdmin())" >nul 2>&1
if errorlevel 1 (
  if defined SERVICE (
    echo start.bat: a service needs an administrator
    echo   remedy: start it from a terminal that was opened as administrator
    exit /b 1
  )
  echo Privilege     ok: plain user
) else (echo Privilege     ok: administrator)

rem A lock file that has changed, or setup.cfg, sets the environment up anew.
set "STAMP="
for /f %%H in ('%PY% -c "import hashlib; print(hashlib.sha256(open('requirements.lock', 'rb').read() + open('setup.cfg', 'rb').read()).hexdigest())"') do set "STAMP=%%H"
set "BEFORE="
if exist "%VENV%\installed" set /p BEFORE=<"%VENV%\installed"
if not defined STAMP set "STAMP=unknown"
set "MAKE=yes"
if "%BEFORE%"=="%STAMP%" set "MAKE="
if "%SERVICE%"=="uninstall" set "MAKE="
if "%SERVICE%"=="install" if exist "%VENV%\installed" "%VENV%\Scripts\optimizer.exe" service stop
if defined MAKE (
  echo Dependencies  setting up "%VENV%" ...
  %PY% -m venv --clear "%VENV%" || (
    echo start.bat: cannot make an environment in "%VENV%"
    echo   remedy: see that the folder is writable
    exit /b 1
  )
  "%VENV%\Scripts\python.exe" -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock || (
    echo start.bat: cannot install the dependencies of requirements.lock
    echo   remedy: see the message above; a host without network needs a package mirror
    exit /b 1
  )
  "%VENV%\Scripts\python.exe" -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation %EDITABLE% . || exit /b 1
  >"%VENV%\installed" echo %STAMP%
) else if "%SERVICE%"=="install" (
  "%VENV%\Scripts\python.exe" -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --force-reinstall . || exit /b 1
)
echo Dependencies  ok: "%VENV%"
if "%SERVICE%"=="install" (
  "%VENV%\Scripts\optimizer.exe" service install
  exit /b
)
if "%SERVICE%"=="uninstall" (
  "%VENV%\Scripts\optimizer.exe" service uninstall %2 || exit /b 1
  rmdir /s /q "%ProgramFiles%\CloudResourceOptimizer"
  exit /b 0
)

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
